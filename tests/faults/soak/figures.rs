//! Measures the resources that the servers use.

use super::servers::{SoakServers, read};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use test_support::https_server::lock;
use test_support::usage::Usage;

/// Permitted growth of an imapd in kB, caused by the allocator of the C library.
const MAX_MEMORY_GROWTH_KB: usize = 2_048;

/// Permitted growth in descriptors: a process with an open mailbox has more than one without.
const MAX_DESCRIPTOR_GROWTH: usize = 4;

/// A measurement; memory in kB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Number of imapd processes.
    pub processes: usize,
    /// Resident memory of all imapd processes.
    pub resident: usize,
    /// Proportional set size of all imapd processes.
    pub proportional: usize,
    /// Descriptors of all imapd processes.
    pub descriptors: usize,
    /// Descriptors of the imapd process with the most of them.
    pub most_descriptors: usize,
    /// Resource usage of the daemon.
    pub daemon: Option<Usage>,
    /// Disk usage of the state directory in kB.
    pub state: usize,
    /// Number of files in the state directory.
    pub state_files: usize,
}

impl Figures {
    /// Measures all servers while Cyrus is running.
    pub fn of(servers: &SoakServers) -> Self {
        let mut figures = Self {
            daemon: lock(&servers.daemon)
                .as_ref()
                .map(|daemon| Usage::of(daemon.pid())),
            ..Self::default()
        };
        let cyrus = read(&servers.cyrus);
        for pid in cyrus.children() {
            // The process may have ended.
            let Some((resident, proportional)) = memory(pid) else {
                continue;
            };
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            figures.processes += 1;
            figures.resident += resident;
            figures.proportional += proportional;
            figures.descriptors += descriptors;
            figures.most_descriptors = figures.most_descriptors.max(descriptors);
        }
        for entry in fs::read_dir(cyrus.state_dir()).expect("cannot list the state directory") {
            if let Ok(metadata) = entry.expect("cannot list the state directory").metadata() {
                let blocks = usize::try_from(metadata.blocks()).expect("the file is too large");
                figures.state += blocks / 2;
                figures.state_files += 1;
            }
        }
        figures
    }

    /// Panics if Cyrus or the daemon has grown since `before`, or the state directory by more than
    /// the sessions of an hour need.
    pub fn assert_not_grown(&self, before: &Self) {
        let check = |what: &str, of: fn(&Self) -> usize, more: usize| {
            let (before, after) = (of(before), of(self));
            assert!(
                after <= before + more,
                "{what}: {before} at the start, {after} at the end"
            );
        };
        check(
            "memory of an imapd",
            Self::proportional_each,
            MAX_MEMORY_GROWTH_KB,
        );
        check(
            "descriptors of an imapd",
            |all| all.most_descriptors,
            MAX_DESCRIPTOR_GROWTH,
        );
        let daemon = |all: &Self| all.daemon.map_or(0, |usage| usage.memory);
        check("memory of the daemon", daemon, 4 * MAX_MEMORY_GROWTH_KB);
        let daemon = |all: &Self| all.daemon.map_or(0, |usage| usage.descriptors);
        check("descriptors of the daemon", daemon, MAX_DESCRIPTOR_GROWTH);
        check(
            "the state directory",
            |all| all.state,
            8 * MAX_MEMORY_GROWTH_KB,
        );
        check("the number of state files", |all| all.state_files, 0);
    }

    /// Returns the average proportional set size of an imapd process.
    pub fn proportional_each(&self) -> usize {
        self.proportional / self.processes.max(1)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} imapd: RSS {} MB, PSS {} kB each, {} descriptors, at most {}; state {} kB in {} files",
            self.processes,
            self.resident / 1_024,
            self.proportional_each(),
            self.descriptors,
            self.most_descriptors,
            self.state,
            self.state_files,
        )?;
        match self.daemon {
            Some(usage) => write!(
                f,
                "; daemon: RSS {} kB, {} descriptors, {} threads",
                usage.memory, usage.descriptors, usage.threads
            ),
            None => write!(f, "; no daemon"),
        }
    }
}

/// Returns the resident and the proportional set size of a process, in kB, if it exists.
fn memory(pid: u32) -> Option<(usize, usize)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((field("Rss:")?, field("Pss:")?))
}
