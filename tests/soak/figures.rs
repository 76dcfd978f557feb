//! What the servers take of the machine.

use super::site::{Site, read};
use crate::harness::https_server::lock;
use crate::harness::usage::Usage;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Growth that is no leak, in kB: what the C library makes of other logins.
const MEMORY: usize = 2_048;

/// A process with a mailbox open has more than one without.
const DESCRIPTORS: usize = 4;

/// At one moment; memory in kB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Of master's children.
    pub processes: usize,
    pub resident: usize,
    pub proportional: usize,
    pub descriptors: usize,
    /// Of the one that has most.
    pub most_descriptors: usize,
    /// Of the daemon.
    pub daemon: Option<Usage>,
    /// On the disk.
    pub state: usize,
    pub state_files: usize,
}

impl Figures {
    /// Of a site whose Cyrus runs.
    pub fn of(site: &Site) -> Self {
        let mut figures = Self {
            daemon: lock(&site.daemon)
                .as_ref()
                .map(|daemon| Usage::of(daemon.pid())),
            ..Self::default()
        };
        let cyrus = read(&site.cyrus);
        for pid in cyrus.children() {
            // It may be gone by now.
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
        for entry in fs::read_dir(cyrus.state_dir()).expect("the state directory") {
            if let Ok(metadata) = entry.expect("an entry").metadata() {
                let blocks = usize::try_from(metadata.blocks()).expect("a small file");
                figures.state += blocks / 2;
                figures.state_files += 1;
            }
        }
        figures
    }

    /// Neither Cyrus nor the daemon has grown since `before`, nor what they have on the disk by more
    /// than the sessions of an hour.
    pub fn assert_not_grown(&self, before: &Self) {
        let same = |what: &str, of: fn(&Self) -> usize, more: usize| {
            let (before, after) = (of(before), of(self));
            assert!(
                after <= before + more,
                "{what}: {before} at the start, {after} at the end"
            );
        };
        same("memory of an imapd", Self::proportional_each, MEMORY);
        same(
            "descriptors of an imapd",
            |all| all.most_descriptors,
            DESCRIPTORS,
        );
        let daemon = |all: &Self| all.daemon.map_or(0, |usage| usage.memory);
        same("memory of the daemon", daemon, 4 * MEMORY);
        let daemon = |all: &Self| all.daemon.map_or(0, |usage| usage.descriptors);
        same("descriptors of the daemon", daemon, DESCRIPTORS);
        same("the state directory", |all| all.state, 8 * MEMORY);
        same("its files", |all| all.state_files, 0);
    }

    /// Of each of master's children, on the average.
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

/// Resident and proportional set size of a process, if it is there.
fn memory(pid: u32) -> Option<(usize, usize)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((field("Rss:")?, field("Pss:")?))
}
