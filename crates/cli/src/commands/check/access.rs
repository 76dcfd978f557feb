//! Whether the mail server's user may read what root can: by owner, group and mode
//! of a file and of all directories on the way to it.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// A user with its groups.
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// What is to be done with a file or a directory, as a bit of the mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Read = 4,
    Write = 2,
    Enter = 1,
}

impl Who {
    /// The user of this name, if there is one.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        let groups = getgrouplist(&CString::new(name).ok()?, user.gid).ok()?;
        Some(Self {
            name: name.to_owned(),
            uid: user.uid,
            gid: user.gid,
            groups,
        })
    }

    /// What is in the way, if something is. Access control lists are respected
    /// where it is root who asks.
    pub(crate) fn hindrance(&self, path: &Path, want: Want) -> Option<String> {
        let found = self.by_mode(path, want)?;
        if Uid::effective().is_root() && self.by_kernel(path, want) == Some(true) {
            return None;
        }
        Some(found)
    }

    fn by_mode(&self, path: &Path, want: Want) -> Option<String> {
        // What is not there is somebody else's complaint.
        let path = fs::canonicalize(path).ok()?;
        let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
        way.reverse();
        let on_the_way = way.into_iter().map(|directory| (directory, Want::Enter));
        for (place, want) in on_the_way.chain([(path.as_path(), want)]) {
            let metadata = fs::metadata(place).ok()?;
            if !self.may(&metadata, want) {
                let verb = match want {
                    Want::Read => "read",
                    Want::Write => "write to",
                    Want::Enter => "enter",
                };
                let (name, place, mode) = (&self.name, place.display(), metadata.mode() & 0o7777);
                let (uid, gid) = (metadata.uid(), metadata.gid());
                return Some(format!(
                    "{name} may not {verb} {place} (mode {mode:04o}, owner {uid}, group {gid})"
                ));
            }
        }
        None
    }

    fn may(&self, metadata: &Metadata, want: Want) -> bool {
        let of_whom = if metadata.uid() == self.uid.as_raw() {
            6
        } else if self.groups.contains(&Gid::from_raw(metadata.gid())) {
            3
        } else {
            0
        };
        self.uid.is_root() || metadata.mode() >> of_whom & want as u32 != 0
    }

    /// What the kernel says to a process of that user, if one can be had.
    fn by_kernel(&self, path: &Path, want: Want) -> Option<bool> {
        let flag = match want {
            Want::Read => "-r",
            Want::Write => "-w",
            Want::Enter => "-x",
        };
        let status = Command::new("setpriv")
            .arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid))
            .args(["--init-groups", "test", flag])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match status.ok()?.code() {
            Some(0) => Some(true),
            Some(1) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_in_the_way_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("key.pem");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        // Somebody who is neither the owner nor in its group, whoever runs this.
        let stranger = Who {
            name: "somebody".to_owned(),
            uid: Uid::from_raw(54_321),
            gid: Gid::from_raw(54_321),
            groups: vec![Gid::from_raw(54_321)],
        };
        set(directory.path(), 0o755);
        set(&inner, 0o755);
        set(&file, 0o644);
        assert_eq!(stranger.by_mode(&file, Want::Read), None);
        set(&file, 0o640);
        let found = stranger.by_mode(&file, Want::Read).unwrap();
        assert!(found.contains("somebody may not read") && found.contains("key.pem (mode 0640"));
        set(&file, 0o644);
        set(&inner, 0o700);
        let found = stranger.by_mode(&file, Want::Read).unwrap();
        assert!(found.contains("may not enter"), "{found}");
        let owner = Who {
            uid: Uid::effective(),
            ..stranger
        };
        assert_eq!(owner.by_mode(&file, Want::Read), None);
    }
}
