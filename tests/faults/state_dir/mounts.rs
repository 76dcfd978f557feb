//! Mount namespaces for processes under test, which vanish with their last process.

use crate::state_dir::site::{Site, uid_of_host};
use nix::unistd::geteuid;
use std::path::Path;
use test_support::process::Process;
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

/// A mount namespace; a user other than root also needs a user namespace.
pub struct Mounts {
    keeper: Process,
    scratch: Scratch,
}

impl Mounts {
    /// Creates a namespace with the same mounts as outside.
    pub fn new(site: &Site) -> Self {
        let mut command = site.scratch.command("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "sh", "-c"])
            .arg("echo ready; exec sleep 100000");
        let keeper = site.scratch.spawn("mounts", command);
        let mounts = Self {
            keeper,
            scratch: site.scratch.clone(),
        };
        let is_ready = || mounts.keeper.output().contains("ready");
        assert!(wait_until(PATIENCE, is_ready), "{}", mounts.keeper.output());
        mounts
    }

    /// Creates a namespace in which the parent of the state directory is a tmpfs of this size.
    pub fn with_memory(site: &Site, kibibytes: usize) -> Self {
        let mounts = Self::new(site);
        let uid = match geteuid().is_root() {
            true => uid_of_host().as_raw(),
            false => 0,
        };
        let run = site.run_dir();
        mounts.run(&format!(
            "mount -t tmpfs -o size={kibibytes}k,mode=0700,uid={uid} tmpfs {}",
            run.display()
        ));
        mounts
    }

    /// The command prefix under which a program runs in the namespace.
    pub fn enter(&self) -> Vec<String> {
        let pid = self.keeper.pid();
        let mut words = vec![
            "nsenter".to_owned(),
            format!("--mount=/proc/{pid}/ns/mnt"),
            "--wd=/".to_owned(),
        ];
        if !geteuid().is_root() {
            words.push(format!("--user=/proc/{pid}/ns/user"));
            words.push("--preserve-credentials".to_owned());
        }
        words
    }

    /// Runs a shell script as root in the namespace.
    pub fn run(&self, script: &str) {
        let words = self.enter();
        let mut command = self.scratch.command(&words[0]);
        command.args(&words[1..]).args(["sh", "-ec", script]);
        self.scratch.run("sh", command, "");
    }

    /// Fills the file system of this directory until [`Mounts::make_room`].
    pub fn fill(&self, directory: &Path) {
        let file = directory.join("fill");
        self.run(&format!(
            "cat /dev/zero 2>/dev/null >{} || true",
            file.display()
        ));
    }

    /// Removes the file of [`Mounts::fill`].
    pub fn make_room(&self, directory: &Path) {
        self.run(&format!("rm {}", directory.join("fill").display()));
    }
}
