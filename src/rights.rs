//! Who may write the files that say who may log in, and what leads to them.

#![forbid(unsafe_code)]

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// So many links one may lead to another.
const LINKS: usize = 16;

/// Makes sure that not everybody of the host may write `path`, or in it: who can, says who
/// may log in, and as whom.
///
/// # Errors
/// The problem, and behind a semicolon the remedy.
pub fn check_unwritable(path: &Path, metadata: &Metadata) -> Result<(), String> {
    match is_for_everybody(metadata) {
        false => Ok(()),
        true => {
            let path = path.display();
            Err(format!("everybody may write {path}; chmod o-w {path}"))
        }
    }
}

/// Makes sure that not everybody may put something else in the place of `path`, or of what
/// it leads to.
///
/// # Errors
/// The problem, and behind a semicolon the remedy.
pub fn check_irreplaceable(path: &Path) -> Result<(), String> {
    follow(path, &mut |above, metadata| {
        let metadata = metadata.map_err(|error| format!("{}: {error}", above.display()))?;
        if metadata.is_dir() && is_for_everybody(metadata) && !is_sticky(metadata) {
            let (path, above) = (path.display(), above.display());
            let problem = format!("everybody may write {above}, and so replace {path}");
            return Err(format!("{problem}; chmod o-w {above}"));
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

fn is_for_everybody(metadata: &Metadata) -> bool {
    metadata.mode() & 0o002 != 0
}

/// Nobody replaces another one's files in such a directory (inode(7)).
pub(crate) fn is_sticky(metadata: &Metadata) -> bool {
    metadata.mode() & 0o1000 != 0
}
