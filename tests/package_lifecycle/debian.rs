//! A Debian of its own with a stock Cyrus, in a chroot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::port::Port;
use crate::harness::process::Process;
use crate::harness::scratch::Scratch;
use crate::harness::wait::{PATIENCE, wait_until};

/// Directories whose content is no package's: the package manager's own records, logs, caches,
/// and what Cyrus keeps.
const NOISE: &[&str] = &[
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

/// Below it nothing runs but what a test starts.
pub struct Debian {
    scratch: Scratch,
    root: PathBuf,
    port: Port,
    master: Option<Process>,
}

impl Debian {
    /// Makes it, with alice, who has a password, and imapd on loopback. It is of this machine's
    /// release, or of that which `SSO_DEBIAN` names.
    pub fn new(scratch: &Scratch) -> Self {
        let root = scratch.join("debian");
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        let release = std::env::var("SSO_DEBIAN").unwrap_or_default();
        let made = Command::new(source.join("scripts/make-debian"))
            .args([&root, &source.join("target/debian-packages").join(&release)])
            .args([&release, "", "cyrus-imapd"])
            .args(["libsasl2-modules", "libsasl2-modules-db", "sasl2-bin"])
            .status()
            .expect("make-debian");
        assert!(made.success(), "make-debian, as root: {made}");
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
        // As at boot, by tmpfiles.d.
        debian.run("install -d -o cyrus -g mail /run/cyrus /run/cyrus/socket /run/cyrus/lock /run/cyrus/proc");
        debian
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect(path);
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).expect(path)
    }

    /// Sets options in /etc/imapd.conf.
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

    /// Runs a shell command inside: whether it succeeds, and what it prints.
    pub fn attempt(&self, script: &str) -> (bool, String) {
        let mut command = self.command("sh");
        command.args(["-c", &format!("exec 2>&1; {script}")]);
        let output = command.output().expect("chroot");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    }

    pub fn run(&self, script: &str) -> String {
        let (success, said) = self.attempt(script);
        assert!(success, "{script}\n{said}");
        said
    }

    /// Installs packages of the host's files.
    pub fn install(&self, packages: &[PathBuf]) {
        for package in packages {
            let name = package.file_name().expect("a package");
            fs::copy(package, self.root.join("tmp").join(name)).expect("a copy");
        }
        let said = self.run("dpkg -i /tmp/*.deb && rm /tmp/*.deb");
        println!("{said}");
    }

    pub fn start_cyrus(&mut self) {
        let mut command = self.command("/usr/sbin/cyrmaster");
        command.args(["-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"]);
        let mut master = self.scratch.spawn("cyrmaster", command);
        let up = wait_until(PATIENCE, || !master.running() || self.port.listened());
        assert!(
            up && master.running(),
            "Cyrus does not start\n{}",
            master.output()
        );
        self.master = Some(master);
    }

    pub fn restart_cyrus(&mut self) {
        self.master = None;
        self.start_cyrus();
    }

    pub fn imap_port(&self) -> u16 {
        self.port.number()
    }

    /// All files that a package may have left: path, and what it is.
    pub fn files(&self) -> BTreeMap<String, String> {
        let prune: Vec<String> = NOISE.iter().map(|path| format!("-path {path}")).collect();
        let listing = self.run(&format!(
            "find / \\( {} \\) -prune -o -printf '%p %y %m %u %g %l\\n'",
            prune.join(" -o ")
        ));
        let lines = listing.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(path, what)| (path.to_owned(), what.to_owned()))
            .collect()
    }

    /// In a mount namespace of its own: /proc goes with the last process.
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
