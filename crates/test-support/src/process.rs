//! A program that a test runs, together with all processes that the program starts.

use super::wait::{PATIENCE, wait_for, wait_until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Time between SIGTERM and SIGKILL.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the lines of a file that a program writes. Returns an empty list if the file does not
/// exist yet.
pub(super) fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A running program, the leader of its own process group. Dropping it terminates the group.
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    /// The file that registers the group with the watchdog; see `scratch.rs`.
    registration: PathBuf,
    stopped: bool,
}

impl Process {
    pub(super) fn new(name: &str, child: Child, output: PathBuf, registration: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            child,
            output,
            registration,
            stopped: false,
        }
    }

    /// Returns the process ID, which is also the process group ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the program itself is running.
    pub fn running(&mut self) -> bool {
        self.exited().is_none()
    }

    /// Waits until the program exits. Returns `None` if it runs longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_for(limit, || self.exited())
    }

    /// Sends a signal to the program, not to its children.
    pub fn signal(&self, signal: Signal) {
        let outcome = nix::sys::signal::kill(group_id(self.pid()), signal);
        assert!(
            outcome.is_ok() || outcome == Err(Errno::ESRCH),
            "{signal} to {}: {outcome:?}",
            self.name
        );
    }

    /// Sends a signal to the whole process group.
    pub fn signal_group(&self, signal: Signal) {
        let outcome = killpg(group_id(self.pid()), signal);
        assert!(
            outcome.is_ok() || outcome == Err(Errno::ESRCH),
            "{signal} to the group of {}: {outcome:?}",
            self.name
        );
    }

    /// Returns the last 8192 bytes that the program wrote to its standard output and error.
    pub fn output(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        let tail = bytes.len().saturating_sub(8192);
        String::from_utf8_lossy(&bytes[tail..]).into_owned()
    }

    /// Returns everything that the program wrote to its standard output and error.
    pub fn whole_output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Terminates the group with SIGTERM, and with SIGKILL after a time-out.
    pub fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.signal(Signal::SIGTERM);
        // A stopped process handles no signal but SIGKILL until it is continued.
        self.signal_group(Signal::SIGCONT);
        if self.wait(TERMINATION_TIMEOUT).is_some() {
            wait_until(Duration::from_secs(1), || members(self.pid()).is_empty());
        }
        self.signal_group(Signal::SIGKILL);
        let status = self.wait(PATIENCE);
        let gone = wait_until(PATIENCE, || members(self.pid()).is_empty());
        // From here on, the kernel may reuse the process group ID.
        let _ = fs::remove_file(&self.registration);
        self.stopped = true;
        assert!(
            status.is_some() && gone || std::thread::panicking(),
            "{} survived SIGKILL",
            self.name
        );
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .expect("cannot wait for the child process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn group_id(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("the process ID is out of range"))
}

/// Returns the running processes of a group, without zombies, which nobody may reap in a container.
pub fn members(group: u32) -> Vec<u32> {
    living()
        .into_iter()
        .filter(|process| process.group == group)
        .map(|process| process.pid)
        .collect()
}

/// Returns the running children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    living()
        .into_iter()
        .filter(|process| process.parent == parent)
        .map(|process| process.pid)
        .collect()
}

struct Entry {
    pid: u32,
    parent: u32,
    group: u32,
}

fn living() -> Vec<Entry> {
    let listing = fs::read_dir("/proc").expect("cannot read /proc");
    listing
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The command name is in parentheses and may itself contain spaces and parentheses.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            (state != "Z" && state != "X").then_some(Entry { pid, parent, group })
        })
        .collect()
}
