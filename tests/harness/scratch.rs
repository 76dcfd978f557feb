//! A private directory, and the promise that nothing outlives the test that made it.
//!
//! Dropping a [`Scratch`] is the orderly way. If the test process is killed outright, a watchdog
//! does the same: a shell in a process group of its own whose standard input is a pipe from the
//! test process. At the end of that input it kills every group that is registered and removes
//! the directory.
//!
//! A program registers itself before it becomes itself: it is started as a shell that creates a
//! file named after its process id, which is its group's id as well, and then replaces itself.
//! Without the directory of these files it cannot start, so nothing slips in behind the watchdog.

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

// `rmdir` succeeds only when no group is left, and from then on none can register.
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

/// The user as whom Cyrus runs when the tests run as root.
const CYRUS_USER: &str = "cyrus";

/// A private directory with a watchdog. Servers hold clones; it goes with the last of them.
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
    /// Makes the directory; `name` is for the reader of a process list.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("sso-{name}-"))
            .tempdir()
            .expect("a directory for temporary files")
            .keep();
        assert!(
            dir.as_os_str().len() <= 60,
            "{} is too long for the unix sockets below it: set a shorter TMPDIR",
            dir.display()
        );
        set_mode(&dir, 0o755);
        fs::create_dir(dir.join("groups")).expect("the directory of process groups");
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCH])
            .arg(&dir)
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a watchdog");
        let owned = Owned {
            dir,
            watchdog,
            started: AtomicU32::new(0),
        };
        Self {
            owned: Arc::new(owned),
        }
    }

    /// The directory; everybody may read what is in it.
    pub fn path(&self) -> &Path {
        &self.owned.dir
    }

    /// A path below the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.owned.dir.join(name)
    }

    /// Makes a directory below the directory.
    pub fn create_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let dir = self.join(name);
        fs::create_dir_all(&dir).expect("a directory below the scratch directory");
        set_mode(&dir, 0o755);
        dir
    }

    /// Writes a file that everybody may read, whatever the umask: Cyrus may be another user.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.join(name);
        fs::write(&file, content).expect("a file below the scratch directory");
        set_mode(&file, 0o644);
        file
    }

    /// Writes a file that nobody else may read.
    pub fn write_private(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let file = self.write(name, "");
        set_mode(&file, 0o600);
        fs::write(&file, content).expect("a private file below the scratch directory");
        file
    }

    /// A command for [`Scratch::spawn`] or [`Scratch::run`]: arguments and variables go on as with
    /// any other. Its environment is empty but for `PATH`, because that of the developer (proxies,
    /// certificate bundles, a Python of another version) must not decide about a test.
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

    /// Starts a command of [`Scratch::command`] in a process group of its own.
    pub fn spawn(&self, name: &str, command: Command) -> Process {
        self.start(name, command, Stdio::null())
    }

    /// The same with a standard input.
    pub fn spawn_with_input(&self, name: &str, command: Command, input: Stdio) -> Process {
        self.start(name, command, input)
    }

    /// The same as [`Scratch::spawn`] for a server, and waits until it listens on its port.
    pub fn spawn_server(&self, name: &str, command: Command, port: &Port) -> Process {
        let mut process = self.spawn(name, command);
        let up = wait_until(STARTING, || !process.running() || port.listened());
        assert!(
            up && process.running(),
            "{name} does not start\n{}",
            process.output()
        );
        process
    }

    /// Runs a short command with `input` to its end and returns what it printed.
    pub fn run(&self, name: &str, command: Command, input: &str) -> String {
        let (success, output) = self.attempt(name, command, input);
        assert!(success, "{name} failed\n{output}");
        output
    }

    /// Runs a short command that may fail: whether it succeeded, and all that it printed.
    pub fn attempt(&self, name: &str, command: Command, input: &str) -> (bool, String) {
        // The input may be a secret.
        let input = self.write_private(format!("{name}.in.{}", self.count()), input);
        let stdin = File::open(input).expect("the input of a command");
        let mut process = self.start(name, command, stdin.into());
        let status = process.wait(PATIENCE);
        let output = process.whole_output();
        let status = status.unwrap_or_else(|| panic!("{name} does not end\n{output}"));
        (status.success(), output)
    }

    /// Gives a file or a directory, with all that is in it, to the user of Cyrus.
    pub fn give_to_cyrus(&self, path: &Path) {
        self.give_to(path, CYRUS_USER);
    }

    /// The same for another user, with that user's group, if we may.
    pub fn give_to(&self, path: &Path, user: &str) {
        if nix::unistd::geteuid().is_root() {
            let mut chown = self.command("chown");
            chown.args(["-R", &format!("{user}:")]).arg(path);
            self.run("chown", chown, "");
        }
    }

    fn start(&self, name: &str, mut command: Command, stdin: Stdio) -> Process {
        let output = self.join(format!("{name}.out.{}", self.count()));
        let stdout = File::create(&output).expect("the output of a command");
        let stderr = stdout.try_clone().expect("the output of a command");
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
        // The watchdog acts at the end of its input, and is bounded itself.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// The account that `cyrus_user` in imapd.conf names: cyrus if we may become that, else our own.
pub fn cyrus_user() -> String {
    become_another(CYRUS_USER)
}

/// The account of a server that is to run as this user: our own if we may not become another.
pub fn become_another(user: &str) -> String {
    if nix::unistd::geteuid().is_root() {
        return user.to_owned();
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .expect("an account of one's own")
        .name
}

/// Sets the mode of a file or directory, whatever the umask made of it.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("setting a mode");
}
