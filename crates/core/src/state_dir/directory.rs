//! `sso_state_dir`: it is created if it is missing, and rejected if it cannot be trusted.

#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::Uid;

use crate::platform::file_permissions;
use crate::platform::file_permissions::Danger;
use crate::state_dir::StoreError;

/// Requires that `path` is a directory of this user that nobody else can write to or replace. It is
/// created if it is missing.
pub(crate) fn prepare(path: &Path) -> Result<(), StoreError> {
    // This check comes before anything is created: a program of root must not create a directory
    // where another user has led it.
    check_path_to(path, Some(Uid::effective()))?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let remedy = format!("make it, owned by {}, mode 0700", owner());
            return Err(trouble(path, &error, &remedy));
        }
    }
    check_itself(path)
}

/// Requires that `path`, which must exist, is such a directory.
pub(crate) fn check(path: &Path) -> Result<(), StoreError> {
    check_path_to(path, Some(Uid::effective()))?;
    check_itself(path)
}

/// The same, after the path to the directory was checked.
fn check_itself(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(path)
        .map_err(|error| trouble(path, &error, "make it a readable directory"))?;
    check_rights(path, &metadata, Some(Uid::effective()))
}

/// Checks the directory for the user whose sessions will be in it, if known. Nothing is created.
///
/// # Errors
/// The problem, a semicolon, and the remedy.
pub fn examine(path: &Path, user: Option<Uid>) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => check_rights(path, &metadata, user)
            .and_then(|()| check_path_to(path, user))
            .map_err(|trouble| trouble.line),
        // Its parent decides whether the directory can be created.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(trouble(path, &error, "make it a readable directory").line),
    }
}

fn check_rights(path: &Path, metadata: &fs::Metadata, user: Option<Uid>) -> Result<(), StoreError> {
    if !metadata.is_dir() {
        return Err(trouble(path, &"is not a directory", "remove it"));
    }
    if let Some(user) = user
        && metadata.uid() != user.as_raw()
    {
        let problem = format!("belongs to uid {}", metadata.uid());
        return Err(trouble(path, &problem, &format!("chown it to uid {user}")));
    }
    if metadata.mode() & 0o022 != 0 {
        let problem = format!(
            "may be written by others (mode {:o})",
            metadata.mode() & 0o777
        );
        let remedy = "look who has been there, and remove it with all that is in it";
        return Err(trouble(path, &problem, remedy));
    }
    Ok(())
}

/// Requires that only `user` and root can replace `path`.
fn check_path_to(path: &Path, user: Option<Uid>) -> Result<(), StoreError> {
    file_permissions::follow(path.parent().unwrap_or(path), &mut |above, metadata| {
        let metadata = metadata.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => trouble(above, error, "make it, owned by root"),
            _ => trouble(above, error, "make it a readable directory"),
        })?;
        match file_permissions::danger_above(metadata, user) {
            None => Ok(()),
            Some(danger) => {
                let problem = format!("{danger}, who could replace {}", path.display());
                let remedy = match danger {
                    Danger::Foreign(_) => "chown it to root",
                    Danger::Writable(_) => "chmod go-w it",
                };
                Err(trouble(above, &problem, remedy))
            }
        }
    })
}

/// Requires that `path`, if it exists, is a file of this user that nobody else can open by this
/// name or another one. Whoever could write to the directory once may have left one.
pub(crate) fn check_file(path: &Path) -> Result<(), StoreError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(trouble(path, &error, "look to its rights")),
    };
    let remedy = "remove its directory with all that is in it";
    check_opened(&metadata).map_err(|error| trouble(path, &error, remedy))
}

/// The same for an open file.
pub(crate) fn check_opened(metadata: &Metadata) -> io::Result<()> {
    let is_ours = metadata.is_file()
        && metadata.uid() == Uid::effective().as_raw()
        && metadata.mode() & 0o077 == 0
        && metadata.nlink() == 1;
    let problem = || io::Error::other("is not a private file of ours");
    is_ours.then_some(()).ok_or_else(problem)
}

fn owner() -> String {
    format!("uid {}", Uid::effective())
}

/// The error about a path of the state directory, with the remedy.
pub(crate) fn trouble(path: &Path, problem: &dyn std::fmt::Display, remedy: &str) -> StoreError {
    StoreError {
        line: format!("{}: {problem}; {remedy}", path.display()),
        is_passing: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn missing_directory_is_created_for_its_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        prepare(&path).unwrap();
    }

    #[test]
    fn directory_that_others_can_write_to_is_rejected_with_the_remedy() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let trouble = prepare(path.path()).unwrap_err().to_string();
        assert!(trouble.contains("remove it"), "{trouble}");
    }

    #[test]
    fn file_that_another_user_could_have_left_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        check_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        check_file(&path).unwrap();
        let link = directory.path().join("link");
        fs::hard_link(&path, &link).unwrap();
        assert!(check_file(&path).is_err());
        fs::remove_file(&link).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        assert!(check_file(&path).is_err());
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(check_file(&link).is_err());
    }

    #[test]
    fn directory_that_others_can_replace_is_rejected_with_the_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let above = parent.path().join("above");
        fs::create_dir(&above).unwrap();
        let path = above.join("state");
        prepare(&path).unwrap();
        let set = |mode| fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o777, 0o720, 0o702] {
            set(mode);
            let trouble = prepare(&path).unwrap_err().line;
            assert!(trouble.ends_with("; chmod go-w it"), "{trouble}");
            assert_eq!(examine(&path, None).unwrap_err(), trouble);
        }
        // In a sticky directory such as /tmp, own files are safe.
        set(0o1777);
        prepare(&path).unwrap();
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(&above, Some(65_534), None).unwrap();
            let trouble = prepare(&path).unwrap_err().line;
            assert!(trouble.ends_with("; chown it to root"), "{trouble}");
        }
    }

    #[test]
    fn no_directory_is_created_behind_the_link_of_another_user() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        for name in ["open", "theirs", "safe"] {
            fs::create_dir(at(name)).unwrap();
        }
        std::os::unix::fs::symlink("../safe", at("open/link")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let mut paths = vec!["open/state", "open/link/state", "missing/state"];
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(at("theirs"), Some(65_534), None).unwrap();
            std::os::unix::fs::symlink("safe", at("turned")).unwrap();
            std::os::unix::fs::lchown(at("turned"), Some(65_534), None).unwrap();
            paths.extend(["theirs/state", "turned/state"]);
        }
        for path in paths {
            assert!(prepare(&at(path)).is_err(), "{path}");
            assert!(fs::symlink_metadata(at(path)).is_err(), "{path} was made");
        }
        assert!(fs::read_dir(at("safe")).unwrap().next().is_none());
    }

    #[test]
    fn links_in_the_path_are_followed() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        for name in ["safe", "open", "open/inside"] {
            fs::create_dir(at(name)).unwrap();
        }
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        link("safe", "short");
        link("short", "long");
        link("open/inside", "through");
        link("round", "round");
        prepare(&at("long/state")).unwrap();
        prepare(&at("through/state")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let trouble = prepare(&at("through/state")).unwrap_err().line;
        assert!(trouble.contains("/open: may be written"), "{trouble}");
        assert!(prepare(&at("round/state")).is_err());
        let turning = check_path_to(&at("round/state"), None).unwrap_err().line;
        assert!(turning.contains("Too many levels"), "{turning}");
        // The owner of a link can change its target.
        if Uid::effective().is_root() {
            std::os::unix::fs::lchown(at("short"), Some(65_534), None).unwrap();
            assert!(prepare(&at("long/state")).is_err());
        }
    }

    #[test]
    fn file_or_foreign_directory_is_rejected() {
        let parent = tempfile::tempdir().unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).unwrap();
        assert!(prepare(&link).unwrap_err().line.contains("not a directory"));
        let orphan = parent.path().join("missing").join("state");
        assert!(prepare(&orphan).unwrap_err().line.contains("make it"));
        // The root directory belongs to root, so root itself cannot be tested.
        if !Uid::effective().is_root() {
            assert!(prepare(Path::new("/")).unwrap_err().line.contains("chown"));
        }
    }
}
