//! The state directory (`sso_state_dir`): how it is opened, and the files, locks and shared
//! memory in it that all processes of the host use.

pub mod boot_file;
pub mod directory;
mod error;
pub mod lock_file;
pub mod shared_memory;
pub mod sync_file;

pub use directory::examine;
pub(crate) use directory::{check, check_file, check_opened, prepare, trouble};
pub(crate) use error::StoreError;
