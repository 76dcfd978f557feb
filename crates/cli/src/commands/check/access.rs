//! Checks whether the mail server's user may access files and directories that this process can
//! access. The owner, group and mode of the file and of all its parent directories decide.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// A user and the user's groups.
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// A kind of access to a file or directory; the value is the bit in the mode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read = 4,
    Write = 2,
    Enter = 1,
}

impl Account {
    /// Looks up a user by name; `None` if the user does not exist.
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

    /// Describes why access is denied; `None` if it is allowed. If this process runs as root,
    /// access control lists are respected too.
    pub(crate) fn denial(&self, path: &Path, access: Access) -> Option<String> {
        let found = self.by_mode(path, access)?;
        if Uid::effective().is_root() && self.by_kernel(path, access) == Some(true) {
            return None;
        }
        Some(found)
    }

    fn by_mode(&self, path: &Path, access: Access) -> Option<String> {
        // A missing file is reported by other checks.
        let path = fs::canonicalize(path).ok()?;
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        let steps = parents
            .into_iter()
            .map(|directory| (directory, Access::Enter));
        for (step, access) in steps.chain([(path.as_path(), access)]) {
            let metadata = fs::metadata(step).ok()?;
            if !self.is_allowed(&metadata, access) {
                let verb = match access {
                    Access::Read => "read",
                    Access::Write => "write to",
                    Access::Enter => "enter",
                };
                let (name, step, mode) = (&self.name, step.display(), metadata.mode() & 0o7777);
                let (uid, gid) = (metadata.uid(), metadata.gid());
                return Some(format!(
                    "{name} may not {verb} {step} (mode {mode:04o}, owner {uid}, group {gid})"
                ));
            }
        }
        None
    }

    fn is_allowed(&self, metadata: &Metadata, access: Access) -> bool {
        let shift = if metadata.uid() == self.uid.as_raw() {
            6
        } else if self.groups.contains(&Gid::from_raw(metadata.gid())) {
            3
        } else {
            0
        };
        self.uid.is_root() || metadata.mode() >> shift & access as u32 != 0
    }

    /// Asks the kernel, in a process of that user (setpriv(1)). `None` if that process cannot be
    /// started.
    fn by_kernel(&self, path: &Path, access: Access) -> Option<bool> {
        let flag = match access {
            Access::Read => "-r",
            Access::Write => "-w",
            Access::Enter => "-x",
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
    fn denied_access_is_described_with_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("key.pem");
        fs::write(&file, "").unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        // A user who is neither the owner nor in the group of the file.
        let stranger = Account {
            name: "somebody".to_owned(),
            uid: Uid::from_raw(54_321),
            gid: Gid::from_raw(54_321),
            groups: vec![Gid::from_raw(54_321)],
        };
        set(directory.path(), 0o755);
        set(&inner, 0o755);
        set(&file, 0o644);
        assert_eq!(stranger.by_mode(&file, Access::Read), None);
        set(&file, 0o640);
        let found = stranger.by_mode(&file, Access::Read).unwrap();
        assert!(found.contains("somebody may not read") && found.contains("key.pem (mode 0640"));
        set(&file, 0o644);
        set(&inner, 0o700);
        let found = stranger.by_mode(&file, Access::Read).unwrap();
        assert!(found.contains("may not enter"), "{found}");
        let owner = Account {
            uid: Uid::effective(),
            ..stranger
        };
        assert_eq!(owner.by_mode(&file, Access::Read), None);
    }
}
