//! What the operating system provides: clocks, deadlines, the log, permissions, memory.

pub mod build_info;
pub mod clock;
pub mod deadline;
pub mod descriptors;
pub mod file_permissions;
pub mod log;
pub mod zeroizing_alloc;
