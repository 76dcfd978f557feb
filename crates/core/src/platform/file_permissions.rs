//! Checks of who can write or replace the files that decide who may log in.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Uid;

/// The maximum number of links to follow for one path.
const MAX_LINKS: usize = 16;

/// Requires that only `user` and root can write to `path`: whoever can, decides who may log in. If
/// `user` is unknown, the owner of `path` is not checked.
///
/// # Errors
/// The problem, a semicolon, and the remedy.
pub fn check_unwritable(path: &Path, metadata: &Metadata, user: Option<Uid>) -> Result<(), String> {
    let path = path.display();
    let complain = |danger: Danger| Err(format!("{path} {danger}; {} {path}", danger.remedy()));
    danger(metadata, user).map_or(Ok(()), complain)
}

/// Requires that only `user` and root can replace `path` or a target of its links. The owner of a
/// directory above it or of a link can, and whoever can write to such a directory, unless it is
/// sticky (inode(7)).
///
/// # Errors
/// The problem, a semicolon, and the remedy.
pub fn check_irreplaceable(path: &Path, user: Option<Uid>) -> Result<(), String> {
    follow(path, &mut |above, metadata| {
        let metadata = metadata.map_err(|error| format!("{}: {error}", above.display()))?;
        // Whoever opens the target of a link checks it.
        if !metadata.is_dir() && !metadata.is_symlink() {
            return Ok(());
        }
        let (path, above) = (path.display(), above.display());
        danger_above(metadata, user).map_or(Ok(()), |danger| {
            let remedy = danger.remedy();
            Err(format!(
                "{above} {danger}, who could replace {path}; {remedy} {above}"
            ))
        })
    })
}

/// Why another user has power over a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Danger {
    /// The owner is neither the user nor root.
    Foreign(u32),
    /// The mode lets others write.
    Writable(u32),
}

impl Danger {
    /// The command that removes the danger, to be followed by the path.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Foreign(_) => "chown root",
            Self::Writable(_) => "chmod go-w",
        }
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(owner) => write!(f, "belongs to uid {owner}"),
            Self::Writable(mode) => write!(f, "may be written by others (mode {mode:o})"),
        }
    }
}

/// Returns the danger of a file or a directory itself, if there is one.
fn danger(metadata: &Metadata, user: Option<Uid>) -> Option<Danger> {
    let owner = metadata.uid();
    if owner != 0 && user.is_some_and(|user| user.as_raw() != owner) {
        return Some(Danger::Foreign(owner));
    }
    let is_writable = metadata.mode() & 0o022 != 0 && !metadata.is_symlink();
    is_writable.then_some(Danger::Writable(metadata.mode() & 0o7777))
}

/// Returns the danger to the contents of a directory, or to the target of a link, if there is one.
pub(crate) fn danger_above(metadata: &Metadata, user: Option<Uid>) -> Option<Danger> {
    danger(metadata, user).filter(|danger| match danger {
        Danger::Foreign(_) => true,
        Danger::Writable(_) => !is_sticky(metadata),
    })
}

/// Requires that only root and `owners`, if they are known, can replace `path` or a target of its
/// links. The owner of a directory above it or of a link can, and whoever can write to such a
/// directory, unless it is sticky (inode(7)).
///
/// If `path` is a socket, anybody may own it and write to it: that decides who may connect, and not
/// what the socket is.
///
/// # Errors
/// The problem, a semicolon, and the remedy.
pub fn check_path_to(path: &Path, owners: Option<&[Uid]>) -> Result<(), String> {
    let danger = |above: &Path, problem: String, remedy: &str| {
        let (path, above) = (path.display(), above.display());
        Err(format!(
            "{above}: {problem}, who could replace {path}; {remedy}"
        ))
    };
    follow(path, &mut |above, metadata| {
        let metadata = metadata.map_err(|error| {
            format!("{}: {error}; make it a readable directory", above.display())
        })?;
        if metadata.file_type().is_socket() {
            return Ok(());
        }
        let owner = Uid::from_raw(metadata.uid());
        if !owner.is_root() && owners.is_some_and(|owners| !owners.contains(&owner)) {
            return danger(above, format!("belongs to uid {owner}"), "chown it to root");
        }
        let may_be_written = metadata.mode() & 0o022 != 0 && !is_sticky(metadata);
        if may_be_written && !metadata.is_symlink() {
            let mode = metadata.mode() & 0o7777;
            let problem = format!("may be written by others (mode {mode:o})");
            return danger(above, problem, "chmod go-w it");
        }
        Ok(())
    })
}

/// Visits `path` and everything on the way to it: the directories above it and, for each link, the
/// target of the link. The mode of a link itself means nothing.
pub(crate) fn follow<E>(path: &Path, look: &mut Visit<'_, E>) -> Result<(), E> {
    go(path, look, MAX_LINKS)
}

/// Receives the metadata of a visited path.
type Visit<'a, E> = dyn FnMut(&Path, Result<&Metadata, &io::Error>) -> Result<(), E> + 'a;

fn go<E>(path: &Path, look: &mut Visit<'_, E>, links: usize) -> Result<(), E> {
    for above in path.ancestors() {
        let found = fs::symlink_metadata(above);
        look(above, found.as_ref())?;
        if !found.is_ok_and(|found| found.is_symlink()) {
            continue;
        }
        let end = match links {
            0 => Err(Errno::ELOOP.into()),
            _ => fs::read_link(above),
        };
        match end {
            Ok(end) => {
                let end = above.parent().map_or_else(PathBuf::new, |at| at.join(end));
                go(&end, look, links - 1)?;
            }
            Err(error) => look(above, Err(&error))?,
        }
    }
    Ok(())
}

/// In a sticky directory nobody can replace the files of others (inode(7)).
fn is_sticky(metadata: &Metadata) -> bool {
    metadata.mode() & 0o1000 != 0
}
