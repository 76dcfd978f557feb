//! A program that a test runs, with everything that program starts in turn.

use super::wait::{PATIENCE, wait_for, wait_until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// How long a program may take to follow SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// The lines that a program has written to a file of its own; none if it has not begun.
pub(super) fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A running program, the leader of a process group of its own. Dropping it ends the group.
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    /// The file by which the watchdog knows the group; see `scratch.rs`.
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

    /// The process id, which is also the id of the group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the program itself still runs.
    pub fn running(&mut self) -> bool {
        self.exited().is_none()
    }

    /// Waits for the program to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_for(limit, || self.exited())
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        let outcome = nix::sys::signal::kill(group_id(self.pid()), signal);
        assert!(
            outcome.is_ok() || outcome == Err(Errno::ESRCH),
            "{signal} to {}: {outcome:?}",
            self.name
        );
    }

    /// Sends a signal to the program and to all that it started.
    pub fn signal_group(&self, signal: Signal) {
        let outcome = killpg(group_id(self.pid()), signal);
        assert!(
            outcome.is_ok() || outcome == Err(Errno::ESRCH),
            "{signal} to the group of {}: {outcome:?}",
            self.name
        );
    }

    /// What it wrote to its standard output and error; the last part, if that is much.
    pub fn output(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        let tail = bytes.len().saturating_sub(8192);
        String::from_utf8_lossy(&bytes[tail..]).into_owned()
    }

    /// All that it wrote, however much.
    pub fn whole_output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Ends the group: SIGTERM, some patience, SIGKILL.
    pub fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.signal(Signal::SIGTERM);
        // A stopped process gets no signal but SIGKILL before it is continued.
        self.signal_group(Signal::SIGCONT);
        if self.wait(GRACE).is_some() {
            wait_until(Duration::from_secs(1), || members(self.pid()).is_empty());
        }
        self.signal_group(Signal::SIGKILL);
        let status = self.wait(PATIENCE);
        let gone = wait_until(PATIENCE, || members(self.pid()).is_empty());
        // From here on the id may become that of somebody else's group.
        let _ = fs::remove_file(&self.registration);
        self.stopped = true;
        assert!(
            status.is_some() && gone || std::thread::panicking(),
            "{} survived SIGKILL",
            self.name
        );
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("waiting for a child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn group_id(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id"))
}

/// The living processes of a group. Zombies do not count: in a container nobody may reap them.
pub fn members(group: u32) -> Vec<u32> {
    living()
        .into_iter()
        .filter(|process| process.group == group)
        .map(|process| process.pid)
        .collect()
}

/// The living children of a process.
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
    let listing = fs::read_dir("/proc").expect("/proc");
    listing
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The command's name, in parentheses, may itself hold spaces and parentheses.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            (state != "Z" && state != "X").then_some(Entry { pid, parent, group })
        })
        .collect()
}
