//! Opens the session cache for reading only. Nothing is created.

#![forbid(unsafe_code)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Uid;

use super::LmdbBackend;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::store_name;
use crate::state_dir::trouble;

/// Opens the cache of this boot in `directory`, if there is one.
pub(crate) fn open(directory: &Path, capacity: usize) -> Result<Option<LmdbBackend>, StoreError> {
    match is_there(directory)? {
        true => LmdbBackend::open_existing(directory, capacity),
        false => Ok(None),
    }
}

/// Whether `directory` contains a cache of this boot that this process may read.
fn is_there(directory: &Path) -> Result<bool, StoreError> {
    let Some(name) = store_name() else {
        return Ok(false);
    };
    let store = directory.join(name);
    let remedy = "ask as root or as the user of the mail server";
    for path in [directory, &store] {
        match fs::symlink_metadata(path) {
            Ok(file) if file.uid() == Uid::effective().as_raw() => {}
            Ok(file) => return Err(trouble(path, &format!("is uid {}'s", file.uid()), remedy)),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(trouble(path, &error, remedy)),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_open_creates_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("state");
        assert!(!is_there(&directory).unwrap());
        assert!(!directory.exists());
        let host = LmdbBackend::open(&directory, 100).unwrap();
        assert!(is_there(&directory).unwrap());
        drop(host);
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        assert!(!is_there(&directory).unwrap());
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    }
}
