//! A private Debian system with a stock Cyrus, in a chroot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::port::Port;
use test_support::process::Process;
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

/// Directories whose contents belong to no package: records of the package manager, logs, caches,
/// and data of Cyrus.
const IGNORED_DIRECTORIES: &[&str] = &[
    "/dev",
    "/proc",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/cyrus",
    "/var/lib/dpkg",
    "/var/log",
    "/var/spool",
];

/// A Debian system in a chroot. It runs only the programs that a test starts.
pub struct Debian {
    scratch: Scratch,
    root: PathBuf,
    port: Port,
    master: Option<Process>,
}

impl Debian {
    /// Creates the system, with imapd on loopback and a user, alice, who has a password. The
    /// release is that of the host, or the one that `SSO_DEBIAN` names.
    pub fn new(scratch: &Scratch) -> Self {
        let root = scratch.join("debian");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let release = std::env::var("SSO_DEBIAN").unwrap_or_default();
        let made = Command::new(source.join("scripts/make-debian"))
            .args([&root, &source.join("target/debian-packages").join(&release)])
            .args([&release, "", "cyrus-imapd"])
            .args(["libsasl2-modules", "libsasl2-modules-db", "sasl2-bin"])
            .status()
            .expect("cannot run scripts/make-debian");
        assert!(
            made.success(),
            "scripts/make-debian failed (it needs root): {made}"
        );
        let debian = Self {
            scratch: scratch.clone(),
            root,
            port: Port::reserve(),
            master: None,
        };
        let cyrus_conf = format!(
            "START {{\n  recover cmd=\"/usr/sbin/cyrus ctl_cyrusdb -r\"\n}}\n\
             SERVICES {{\n  imap cmd=\"imapd -U 30\" listen=\"127.0.0.1:{}\" proto=\"tcp4\" \
             prefork=0 maxchild=20\n}}\nEVENTS {{\n}}\n",
            debian.port.number()
        );
        debian.write("etc/cyrus.conf", &cyrus_conf);
        debian.set(&[
            ("servername", "localhost"),
            ("allowplaintext", "yes"),
            ("sasl_mech_list", "PLAIN"),
            ("sasl_pwcheck_method", "auxprop"),
            ("sasl_auxprop_plugin", "sasldb"),
        ]);
        debian.run("printf secret | saslpasswd2 -p -c -u localhost alice");
        // These directories are normally created by tmpfiles.d at boot.
        debian.run("install -d -o cyrus -g mail /run/cyrus /run/cyrus/socket /run/cyrus/lock /run/cyrus/proc");
        debian
    }

    /// Returns the path outside of the chroot.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes a file of the system.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect(path);
    }

    /// Reads a file of the system.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect(path)
    }

    /// Sets options in /etc/imapd.conf, replacing those of the same name.
    pub fn set(&self, options: &[(&str, &str)]) {
        let is_set = |line: &str| {
            let key = line.split(':').next();
            options.iter().any(|(name, _)| key == Some(name))
        };
        let old = self.read("/etc/imapd.conf");
        let kept = old
            .lines()
            .filter(|line| !is_set(line))
            .map(|line| format!("{line}\n"));
        let new = options
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"));
        let text: String = kept.chain(new).collect();
        self.write("/etc/imapd.conf", &text);
    }

    /// Runs a shell command in the system. Returns whether it succeeded, and its output.
    pub fn attempt(&self, script: &str) -> (bool, String) {
        let mut command = self.command("sh");
        command.args(["-c", &format!("exec 2>&1; {script}")]);
        let result = command
            .output()
            .expect("cannot run a command in the chroot");
        let output = String::from_utf8_lossy(&result.stdout).into_owned();
        (result.status.success(), output)
    }

    /// Runs a shell command in the system and returns its output. Panics if it fails.
    pub fn run(&self, script: &str) -> String {
        let (success, output) = self.attempt(script);
        assert!(success, "{script}\n{output}");
        output
    }

    /// Installs package files of the host.
    pub fn install(&self, packages: &[PathBuf]) {
        for package in packages {
            let name = package.file_name().expect("the package has no file name");
            fs::copy(package, self.root.join("tmp").join(name)).expect("cannot copy the package");
        }
        let output = self.run("dpkg -i /tmp/*.deb && rm /tmp/*.deb");
        println!("{output}");
    }

    /// Starts Cyrus and waits until it listens.
    pub fn start_cyrus(&mut self) {
        let mut command = self.command("/usr/sbin/cyrmaster");
        command.args(["-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"]);
        let mut master = self.scratch.spawn("cyrmaster", command);
        let up = wait_until(PATIENCE, || !master.running() || self.port.listened());
        assert!(
            up && master.running(),
            "Cyrus did not start\n{}",
            master.output()
        );
        self.master = Some(master);
    }

    /// Restarts Cyrus.
    pub fn restart_cyrus(&mut self) {
        self.master = None;
        self.start_cyrus();
    }

    /// Returns the port of imapd.
    pub fn imap_port(&self) -> u16 {
        self.port.number()
    }

    /// Returns all files outside of [`IGNORED_DIRECTORIES`] by path, with type, mode, owner and link target.
    pub fn files(&self) -> BTreeMap<String, String> {
        let prune: Vec<String> = IGNORED_DIRECTORIES
            .iter()
            .map(|path| format!("-path {path}"))
            .collect();
        let listing = self.run(&format!(
            "find / \\( {} \\) -prune -o -printf '%p %y %m %u %g %l\\n'",
            prune.join(" -o ")
        ));
        let lines = listing.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(path, what)| (path.to_owned(), what.to_owned()))
            .collect()
    }

    /// Builds a command that runs in a private mount namespace, where /proc is unmounted when the
    /// last process ends.
    fn command(&self, program: &str) -> Command {
        const ENTER: &str = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
        let mut command = self.scratch.command("unshare");
        command
            .args(["--mount", "sh", "-c", ENTER])
            .arg(&self.root)
            .arg(program);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8");
        command
    }
}
