//! What a process takes of the machine, as /proc has it.

use std::fs;

/// At one moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Memory in use (VmRSS), in kB.
    pub memory: usize,
    /// Of that what no file has (RssAnon), in kB: its heap and its stacks.
    pub anonymous: usize,
    /// The most that it was (VmHWM), in kB.
    pub peak: usize,
    /// Its threads.
    pub threads: usize,
    /// Its open descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// Of the process with this id, which runs.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
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
                .expect("its descriptors")
                .count(),
        }
    }
}
