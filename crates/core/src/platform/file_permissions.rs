//! Who may write the files that say who may log in, and what leads to them.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Uid;

/// So many links one may lead to another.
const LINKS: usize = 16;

/// Makes sure that nobody but `user` and root may write `path`, or in it: who can, says who
/// may log in, and as whom. Where it is not known who the user is, its owner is not judged.
///
/// # Errors
/// The problem, and behind a semicolon the remedy.
pub fn check_unwritable(path: &Path, metadata: &Metadata, user: Option<Uid>) -> Result<(), String> {
    let path = path.display();
    let complain = |danger: Danger| Err(format!("{path} {danger}; {} {path}", danger.remedy()));
    danger(metadata, user).map_or(Ok(()), complain)
}

/// Makes sure that nobody but `user` and root may put something else in the place of `path`,
/// or of what it leads to: who owns a directory on the way to it, or a link, can, and who
/// may write such a directory, unless that is sticky (inode(7)).
///
/// # Errors
/// The problem, and behind a semicolon the remedy.
pub fn check_irreplaceable(path: &Path, user: Option<Uid>) -> Result<(), String> {
    follow(path, &mut |above, metadata| {
        let metadata = metadata.map_err(|error| format!("{}: {error}", above.display()))?;
        // What is at the end of a link is judged by who opens it.
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

/// Why somebody else has power over a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Danger {
    /// Its owner is neither the user nor root.
    Foreign(u32),
    /// Its mode lets others write.
    Writable(u32),
}

impl Danger {
    /// The command that mends it, which the path follows.
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

/// Who but `user` and root has power over a file or a directory itself, if somebody has.
fn danger(metadata: &Metadata, user: Option<Uid>) -> Option<Danger> {
    let owner = metadata.uid();
    if owner != 0 && user.is_some_and(|user| user.as_raw() != owner) {
        return Some(Danger::Foreign(owner));
    }
    let is_writable = metadata.mode() & 0o022 != 0 && !metadata.is_symlink();
    is_writable.then_some(Danger::Writable(metadata.mode() & 0o7777))
}

/// The same over what is in a directory, or behind a link.
pub(crate) fn danger_above(metadata: &Metadata, user: Option<Uid>) -> Option<Danger> {
    danger(metadata, user).filter(|danger| match danger {
        Danger::Foreign(_) => true,
        Danger::Writable(_) => !is_sticky(metadata),
    })
}

/// Makes sure that nobody but root and `owners`, if they are known, can put something else
/// in the place of `path`, or of what it leads to: who owns a directory on the way to it,
/// or a link, can, and who may write one, unless that is sticky (inode(7)).
///
/// A socket at its end may be anybody's and may be written by all: that says who may
/// connect, and not who is connected to.
///
/// # Errors
/// The problem, and behind the last semicolon the remedy.
pub fn check_way(path: &Path, owners: Option<&[Uid]>) -> Result<(), String> {
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

/// Looks at `path` and at all that leads to it: the directories above it, and where it, or
/// one of these, is a link, also what that leads to. A link's own rights say nothing.
pub(crate) fn follow<E>(path: &Path, look: &mut Look<'_, E>) -> Result<(), E> {
    go(path, look, LINKS)
}

/// Takes what was found at a path.
type Look<'a, E> = dyn FnMut(&Path, Result<&Metadata, &io::Error>) -> Result<(), E> + 'a;

fn go<E>(path: &Path, look: &mut Look<'_, E>, links: usize) -> Result<(), E> {
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

/// Nobody replaces another one's files in such a directory (inode(7)).
fn is_sticky(metadata: &Metadata) -> bool {
    metadata.mode() & 0o1000 != 0
}
