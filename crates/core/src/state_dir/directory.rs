//! `sso_state_dir`: made if it is missing, refused if it cannot be trusted.

#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::Uid;

use crate::platform::file_permissions;
use crate::platform::file_permissions::Danger;
use crate::state_dir::StoreError;

/// Makes sure that `path` is a directory of ours that nobody else can write, or put
/// another one in the place of.
pub(crate) fn prepare(path: &Path) -> Result<(), StoreError> {
    // Before anything is made: a program of root's must not make a directory where somebody
    // else leads it to.
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

/// Makes sure that `path`, which is there, is such a directory.
pub(crate) fn check(path: &Path) -> Result<(), StoreError> {
    check_path_to(path, Some(Uid::effective()))?;
    check_itself(path)
}

/// The same, the way to it having been looked at.
fn check_itself(path: &Path) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(path)
        .map_err(|error| trouble(path, &error, "make it a readable directory"))?;
    check_rights(path, &metadata, Some(Uid::effective()))
}

/// What is wrong with the directory for the user whose sessions are to be in it, if
/// it is known who that is. Nothing is made.
///
/// # Errors
/// The problem, the remedy behind the last semicolon.
pub fn examine(path: &Path, user: Option<Uid>) -> Result<(), String> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => check_rights(path, &metadata, user)
            .and_then(|()| check_path_to(path, user))
            .map_err(|trouble| trouble.line),
        // Whether it can be made is seen by its parent.
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

/// Makes sure that nobody but `user` and root can put something else in the place of
/// `path`.
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

/// Makes sure that `path`, if there is such a file, is a file of ours that nobody
/// else can open, by this name or another. Whoever could write the directory
/// once may have left one.
pub(crate) fn check_file(path: &Path) -> Result<(), StoreError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(trouble(path, &error, "look to its rights")),
    };
    let remedy = "remove its directory with all that is in it";
    check_opened(&metadata).map_err(|error| trouble(path, &error, remedy))
}

/// The same of a file that is open.
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

/// What is wrong with a path of the state directory, and the remedy.
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
    fn a_missing_directory_is_made_for_us_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        prepare(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        prepare(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused_with_the_remedy() {
        let path = tempfile::tempdir().unwrap();
        fs::set_permissions(path.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let trouble = prepare(path.path()).unwrap_err().to_string();
        assert!(trouble.contains("remove it"), "{trouble}");
    }

    #[test]
    fn a_file_that_somebody_else_could_have_left_is_refused() {
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
    fn a_directory_that_somebody_could_replace_is_refused_with_the_remedy() {
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
        // As /tmp: what is ours in it is ours.
        set(0o1777);
        prepare(&path).unwrap();
        if Uid::effective().is_root() {
            std::os::unix::fs::chown(&above, Some(65_534), None).unwrap();
            let trouble = prepare(&path).unwrap_err().line;
            assert!(trouble.ends_with("; chown it to root"), "{trouble}");
        }
    }

    #[test]
    fn no_directory_is_made_where_somebody_else_could_have_led_to() {
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
    fn a_link_on_the_way_counts_as_what_it_leads_to() {
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
        // Whose a link is, is who can turn it.
        if Uid::effective().is_root() {
            std::os::unix::fs::lchown(at("short"), Some(65_534), None).unwrap();
            assert!(prepare(&at("long/state")).is_err());
        }
    }

    #[test]
    fn what_is_not_a_directory_of_ours_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(parent.path(), &link).unwrap();
        assert!(prepare(&link).unwrap_err().line.contains("not a directory"));
        let orphan = parent.path().join("missing").join("state");
        assert!(prepare(&orphan).unwrap_err().line.contains("make it"));
        // The root directory belongs to root; root itself cannot be shown this.
        if !Uid::effective().is_root() {
            assert!(prepare(Path::new("/")).unwrap_err().line.contains("chown"));
        }
    }
}
