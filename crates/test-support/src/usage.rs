//! The resources that a process uses, from /proc.

use std::fs;

/// A measurement of one process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Resident memory (VmRSS), in kB.
    pub memory: usize,
    /// Resident anonymous memory (RssAnon), in kB: heap and stacks.
    pub anonymous: usize,
    /// Peak resident memory (VmHWM), in kB.
    pub peak: usize,
    /// Number of threads.
    pub threads: usize,
    /// Number of open file descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// Measures the running process with this ID.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .expect("cannot read the status of the process");
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = value.and_then(|value| value.split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        Self {
            memory: field("VmRSS"),
            anonymous: field("RssAnon"),
            peak: field("VmHWM"),
            threads: field("Threads"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))
                .expect("cannot list the descriptors of the process")
                .count(),
        }
    }
}
