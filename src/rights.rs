//! Who may write the files that say who may log in.

#![forbid(unsafe_code)]

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makes sure that not everybody of the host may write `path`, or in it: who can, says who
/// may log in, and as whom.
///
/// # Errors
/// The problem, and behind a semicolon the remedy.
pub fn check_unwritable(path: &Path, metadata: &Metadata) -> Result<(), String> {
    match metadata.mode() & 0o002 {
        0 => Ok(()),
        _ => {
            let path = path.display();
            Err(format!("everybody may write {path}; chmod o-w {path}"))
        }
    }
}
