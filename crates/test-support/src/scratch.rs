//! A private directory for a test. Nothing in it, and no process, outlives the test.
//!
//! Normally, dropping a [`Scratch`] cleans up. If the test process is killed, a watchdog does: a
//! shell in its own process group whose standard input is a pipe from the test process. When that
//! input ends, the watchdog kills all registered process groups and removes the directory.
//!
//! A program registers before it runs: it is started by a shell that creates a file named after
//! its process ID, which is also the group ID, and then executes the program. Once the directory
//! of these files is removed, no program can start, so that none can escape the watchdog.

use super::port::Port;
use super::process::Process;
use super::wait::{PATIENCE, STARTING, wait_until};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const REGISTER_AND_BECOME: &str = r#": > "$0/$$" && exec "$@""#;

// `rmdir` succeeds only if no group is registered, and none can register afterwards.
const WATCH: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
until rmdir "$0/groups"; do
    for group in "$0"/groups/*; do
        kill -s KILL -- "-${group##*/}"
        rm -f "$group"
    done
done
for attempt in 1 2 3 4 5 6 7 8 9; do
    rm -rf "$0" && break
    sleep 0.1
done
"#;

/// The user that Cyrus runs as when the tests run as root.
const CYRUS_USER: &str = "cyrus";

/// A private directory with a watchdog. Servers hold clones; the last one to be dropped removes the
/// directory.
#[derive(Clone)]
pub struct Scratch {
    owned: Arc<Owned>,
}

struct Owned {
    dir: PathBuf,
    watchdog: Child,
    started: AtomicU32,
}

impl Scratch {
    /// Creates the directory. `name` appears in its path and so in the process list.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("sso-{name}-"))
            .tempdir()
            .expect("cannot create a temporary directory")
            .keep();
        assert!(
            dir.as_os_str().len() <= 60,
            "{} is too long for the unix sockets below it: set a shorter TMPDIR",
            dir.display()
        );
        set_mode(&dir, 0o755);
        fs::create_dir(dir.join("groups")).expect("cannot create the directory of process groups");
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCH])
            .arg(&dir)
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start the watchdog");
        let owned = Owned {
            dir,
            watchdog,
            started: AtomicU32::new(0),
        };
        Self {
            owned: Arc::new(owned),
        }
    }

    /// Returns the path of the directory, which is world-readable.
    pub fn path(&self) -> &Path {
        &self.owned.dir
    }

    /// Returns a path below the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.owned.dir.join(name)
    }

    /// Creates a directory below the directory.
    pub fn create_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let dir = self.join(name);
        fs::create_dir_all(&dir).expect("cannot create a directory below the scratch directory");
        set_mode(&dir, 0o755);
        dir
    }

    /// Writes a world-readable file, whatever the umask, because Cyrus may run as another user.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(name);
        fs::write(&file, content).expect("cannot write a file below the scratch directory");
        set_mode(&file, 0o644);
        file
    }

    /// Writes a file with mode 0600.
    pub fn write_private(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.write(name, "");
        set_mode(&file, 0o600);
        fs::write(&file, content).expect("cannot write a file below the scratch directory");
        file
    }

    /// Creates a command for [`Scratch::spawn`] or [`Scratch::run`]. The caller adds arguments and
    /// variables as usual. The environment contains only `PATH`: that of the developer (proxies,
    /// certificate bundles, another Python) must not influence a test.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-c", REGISTER_AND_BECOME])
            .arg(self.join("groups"))
            .arg(program)
            .current_dir(&self.owned.dir);
        command
    }

    /// Starts a command made by [`Scratch::command`] in its own process group.
    pub fn spawn(&self, name: &str, command: Command) -> Process {
        self.start(name, command, Stdio::null())
    }

    /// Like [`Scratch::spawn`], with this standard input.
    pub fn spawn_with_input(&self, name: &str, command: Command, input: Stdio) -> Process {
        self.start(name, command, input)
    }

    /// Like [`Scratch::spawn`], for a server; waits until it listens on its port.
    pub fn spawn_server(&self, name: &str, command: Command, port: &Port) -> Process {
        let mut process = self.spawn(name, command);
        let up = wait_until(STARTING, || !process.running() || port.listened());
        assert!(
            up && process.running(),
            "{name} did not start\n{}",
            process.output()
        );
        process
    }

    /// Runs a short command with `input` and returns its output. Panics if the command fails.
    pub fn run(&self, name: &str, command: Command, input: &str) -> String {
        let (success, output) = self.attempt(name, command, input);
        assert!(success, "{name} failed\n{output}");
        output
    }

    /// Runs a short command with `input`. Returns whether it succeeded, and its output.
    pub fn attempt(&self, name: &str, command: Command, input: &str) -> (bool, String) {
        // The input may contain a credential.
        let input = self.write_private(format!("{name}.in.{}", self.count()), input);
        let stdin = File::open(input).expect("cannot open the input of the command");
        let mut process = self.start(name, command, stdin.into());
        let status = process.wait(PATIENCE);
        let output = process.whole_output();
        let status = status.unwrap_or_else(|| panic!("{name} did not exit in time\n{output}"));
        (status.success(), output)
    }

    /// Makes the Cyrus user the owner of a file or of a directory and its contents.
    pub fn give_to_cyrus(&self, path: &Path) {
        self.give_to(path, CYRUS_USER);
    }

    /// Like [`Scratch::give_to_cyrus`], for another user and that user's group. Does nothing unless
    /// the test runs as root.
    pub fn give_to(&self, path: &Path, user: &str) {
        if nix::unistd::geteuid().is_root() {
            let mut chown = self.command("chown");
            chown.args(["-R", &format!("{user}:")]).arg(path);
            self.run("chown", chown, "");
        }
    }

    fn start(&self, name: &str, mut command: Command, stdin: Stdio) -> Process {
        let output = self.join(format!("{name}.out.{}", self.count()));
        let stdout = File::create(&output).expect("cannot create the output file of the command");
        let stderr = stdout
            .try_clone()
            .expect("cannot create the output file of the command");
        let child = command
            .process_group(0)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let registration = self.join("groups").join(child.id().to_string());
        Process::new(name, child, output, registration)
    }

    fn count(&self) -> u32 {
        self.owned.started.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // The watchdog cleans up at the end of its input, with a bounded number of attempts.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// Returns the account for `cyrus_user` in imapd.conf: `cyrus` for root, otherwise the current
/// user.
pub fn cyrus_user() -> String {
    become_another(CYRUS_USER)
}

/// Returns the account for a server: `user` for root, otherwise the current user.
pub fn become_another(user: &str) -> String {
    if nix::unistd::geteuid().is_root() {
        return user.to_owned();
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .expect("the current user has no account")
        .name
}

/// Sets the mode of a file or directory, regardless of the umask.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("cannot set the mode");
}
