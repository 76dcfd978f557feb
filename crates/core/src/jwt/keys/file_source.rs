//! Keys from files: a PEM file, a directory of PEM files, or a JWK set. The files are read again
//! when they change.

#![forbid(unsafe_code)]

use std::fs::{self, DirEntry, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Uid;
use parking_lot::Mutex;

use super::jwk_set;
use super::jwk_set::Secrets;
use super::key_set::KeySet;
use super::pem;
use crate::error::{Failure, Reason};
use crate::platform::clock::BootTime;
use crate::platform::file_permissions;
use crate::platform::log::{Level, Log, quoted};

/// How long the result of examining the files is used: examining them costs as much as a cache hit.
const EXAMINE_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum size of a key file, in bytes, and the maximum number of files.
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 1_000;

/// Key files, and the keys that were read last.
pub(crate) struct FileKeySource {
    path: PathBuf,
    /// The user who reads the files, if known: they must belong to this user or to root.
    user: Option<Uid>,
    found: Mutex<Option<Found>>,
}

struct Found {
    looked: BootTime,
    fingerprints: Vec<FileFingerprint>,
    set: Arc<KeySet>,
}

/// Properties of a file that change when the file does.
#[derive(PartialEq, Eq)]
struct FileFingerprint {
    path: PathBuf,
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Why the file is not read.
    problem: Option<String>,
}

impl FileKeySource {
    /// The key files of this process.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self::read_by(path, Some(Uid::effective()))
    }

    /// The key files of processes of `user`.
    pub(crate) fn read_by(path: PathBuf, user: Option<Uid>) -> Self {
        Self {
            path,
            user,
            found: Mutex::new(None),
        }
    }

    /// The keys, at most a second old.
    ///
    /// # Errors
    /// [`Reason::KeysUnusable`].
    pub(crate) fn current(&self, now: BootTime, log: &dyn Log) -> Result<Arc<KeySet>, Failure> {
        self.look(now, EXAMINE_INTERVAL, log)
    }

    /// The keys, as the files are now.
    ///
    /// # Errors
    /// [`Reason::KeysUnusable`].
    pub(crate) fn newest(&self, now: BootTime, log: &dyn Log) -> Result<Arc<KeySet>, Failure> {
        self.look(now, Duration::ZERO, log)
    }

    /// The location, for messages.
    pub(crate) fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Reads the files now. The result has all problems.
    pub(crate) fn examine(&self) -> KeySet {
        let mut set = match fingerprints(&self.path, self.user) {
            Ok(fingerprints) => read(&fingerprints),
            Err(problem) => KeySet {
                keys: Vec::new(),
                unusable: vec![problem],
            },
        };
        if set.keys.is_empty() && set.unusable.is_empty() {
            set.unusable.push(self.no_key());
        }
        set
    }

    fn no_key(&self) -> String {
        format!("{} has no key that could be used", self.path.display())
    }

    fn look(
        &self,
        now: BootTime,
        revalidate_at: Duration,
        log: &dyn Log,
    ) -> Result<Arc<KeySet>, Failure> {
        let mut found = self.found.lock();
        if let Some(found) = &*found
            && now
                .since(found.looked)
                .is_some_and(|age| age < revalidate_at)
        {
            return self.usable(&found.set);
        }
        let unusable = |what| Failure::new(Reason::KeysUnusable, what);
        let fingerprints = fingerprints(&self.path, self.user).map_err(unusable)?;
        if let Some(found) = &mut *found
            && found.fingerprints == fingerprints
        {
            found.looked = now;
            return self.usable(&found.set);
        }
        let set = read(&fingerprints);
        for complaint in &set.unusable {
            log.write(Level::Error, &format!("sso: jwt_keys: {complaint}"));
        }
        let set = Arc::new(set);
        *found = Some(Found {
            looked: now,
            fingerprints,
            set: Arc::clone(&set),
        });
        self.usable(&set)
    }

    fn usable(&self, set: &Arc<KeySet>) -> Result<Arc<KeySet>, Failure> {
        if set.keys.is_empty() {
            return Err(Failure::new(Reason::KeysUnusable, self.no_key()));
        }
        Ok(Arc::clone(set))
    }
}

/// Reads the files, and collects the problems of those that are unusable.
fn read(fingerprints: &[FileFingerprint]) -> KeySet {
    let mut all = KeySet::default();
    for fingerprint in fingerprints {
        if let Some(problem) = &fingerprint.problem {
            all.unusable.push(problem.clone());
            continue;
        }
        let path = fingerprint.path.display();
        let bytes = match read_bounded(&fingerprint.path) {
            Ok(bytes) => bytes,
            // A file that cannot be read does not affect the others.
            Err(problem) => {
                all.unusable.push(format!("{path}: {problem}"));
                continue;
            }
        };
        let set = if bytes.trim_ascii_start().starts_with(b"{") {
            jwk_set::read(&bytes, Secrets::Taken).unwrap_or_else(|problem| KeySet {
                keys: Vec::new(),
                unusable: vec![problem],
            })
        } else {
            pem::read(&bytes)
        };
        let origin: Arc<str> = path.to_string().into();
        let keys = set.keys.into_iter();
        all.keys.extend(keys.map(|key| key.of_file(&origin)));
        let unusable = set.unusable.iter();
        all.unusable
            .extend(unusable.map(|complaint| format!("{path}: {complaint}")));
    }
    all
}

/// The files of `path`: itself, or the visible files in the directory.
fn fingerprints(path: &Path, user: Option<Uid>) -> Result<Vec<FileFingerprint>, String> {
    let complain = |error| format!("{}: {error}", path.display());
    let metadata = fs::metadata(path).map_err(complain)?;
    file_permissions::check_irreplaceable(path, user)?;
    // Reading anything but a regular file, such as a pipe, could block.
    if metadata.is_file() {
        return Ok(vec![FileFingerprint::new(path.to_owned(), &metadata, user)]);
    }
    file_permissions::check_unwritable(path, &metadata, user)?;
    let mut fingerprints = Vec::new();
    for (entry, metadata) in files_in(path).map_err(complain)? {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        let mut fingerprint = FileFingerprint::new(entry.path(), &metadata, user);
        // The path to the directory, which all files in it share, is checked once.
        if is_link && fingerprint.problem.is_none() {
            fingerprint.problem =
                file_permissions::check_irreplaceable(&fingerprint.path, user).err();
        }
        fingerprints.push(fingerprint);
    }
    if fingerprints.len() > MAX_FILES {
        return Err(format!(
            "{}: has more than {MAX_FILES} files",
            path.display()
        ));
    }
    fingerprints.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(fingerprints)
}

/// The files of a location of keys: itself, or the files in the directory, whatever they contain.
pub fn key_files(path: &Path) -> Vec<PathBuf> {
    match files_in(path) {
        Ok(files) => files.iter().map(|(entry, _)| entry.path()).collect(),
        Err(_) if path.is_file() => vec![path.to_owned()],
        Err(_) => Vec::new(),
    }
}

/// The visible files in a directory, with their metadata.
fn files_in(directory: &Path) -> io::Result<Vec<(DirEntry, Metadata)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // Links are followed; a dangling link is no file.
        if let (false, Ok(metadata)) = (is_hidden, fs::metadata(entry.path()))
            && metadata.is_file()
        {
            files.push((entry, metadata));
        }
    }
    Ok(files)
}

impl FileFingerprint {
    fn new(path: PathBuf, metadata: &Metadata, user: Option<Uid>) -> Self {
        let problem = file_permissions::check_unwritable(&path, metadata, user).err();
        Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            problem,
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| quoted(&error.to_string()).into_owned())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is longer than {MAX_FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::log::Kept;
    use crate::policy::jws_algorithm::Algorithm;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn hmac(byte: u8, length: usize) -> String {
        ::pem::encode(&::pem::Pem::new("HMAC KEY", vec![byte; length]))
    }

    fn at(milliseconds: u64) -> BootTime {
        BootTime::from_millis(10_000 + milliseconds)
    }

    #[test]
    fn changed_directory_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let files = FileKeySource::new(directory.path().to_owned());
        let count = |now| files.current(now, &Kept::default()).unwrap().keys.len();
        write("a.pem", &hmac(1, 32));
        write(".hidden", &hmac(2, 32));
        assert_eq!(count(at(0)), 1);
        write("b.pem", &(hmac(3, 32) + &hmac(4, 32)));
        assert_eq!(count(at(999)), 1);
        assert_eq!(count(at(1_000)), 3);
        write("b.pem", "withdrawn");
        assert_eq!(count(at(1_001)), 3);
        let newest = files.newest(at(1_001), &Kept::default()).unwrap();
        assert_eq!(newest.keys.len(), 1);
    }

    #[test]
    fn world_writable_key_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let (good, open) = (
            directory.path().join("a.pem"),
            directory.path().join("b.pem"),
        );
        fs::write(&good, hmac(1, 32)).unwrap();
        fs::write(&open, hmac(2, 32)).unwrap();
        let set_mode =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let log = Kept::default();
        let files = FileKeySource::new(directory.path().to_owned());
        let count = |now| files.newest(at(now), &log).map(|set| set.keys.len());
        assert_eq!(count(0).unwrap(), 2);
        set_mode(&open, 0o602);
        assert_eq!(count(1).unwrap(), 1);
        assert!(
            log.lines()[0]
                .1
                .contains("may be written by others (mode 602)"),
            "{:?}",
            log.lines()
        );
        let alone = FileKeySource::new(open.clone());
        assert_eq!(
            alone.newest(at(1), &log).unwrap_err().reason(),
            Reason::KeysUnusable
        );
        set_mode(&open, 0o600);
        assert_eq!(count(2).unwrap(), 2);
        // Outside the directory, anybody could have replaced the target of a link.
        let elsewhere = tempfile::tempdir().unwrap();
        let linked = elsewhere.path().join("c.pem");
        fs::write(&linked, hmac(3, 32)).unwrap();
        std::os::unix::fs::symlink(&linked, directory.path().join("c.pem")).unwrap();
        assert_eq!(count(3).unwrap(), 3);
        for (mode, expected) in [(0o777, 2), (0o1777, 3)] {
            set_mode(elsewhere.path(), mode);
            assert_eq!(count(4).unwrap(), expected, "{mode:o}");
            assert_eq!(
                FileKeySource::new(linked.clone())
                    .newest(at(4), &log)
                    .is_ok(),
                expected == 3
            );
        }
        // Whoever can write to a directory can add a key, sticky or not.
        set_mode(directory.path(), 0o1777);
        assert_eq!(count(5).unwrap_err().reason(), Reason::KeysUnusable);
    }

    #[test]
    fn key_file_of_another_user_or_writable_by_a_group_is_not_read() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("keys");
        fs::create_dir(&directory).unwrap();
        let file = directory.join("a.pem");
        fs::write(&file, hmac(1, 32)).unwrap();
        let set_mode =
            |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let problem = |path: &Path| {
            let log = Kept::default();
            let failure = FileKeySource::new(path.to_owned())
                .newest(at(0), &log)
                .err()?;
            assert_eq!(failure.reason(), Reason::KeysUnusable);
            Some(format!("{:?} {failure}", log.lines()))
        };
        for (path, mode, usual) in [
            (&*file, 0o660, 0o640),
            (&*directory, 0o770, 0o755),
            (&*directory, 0o1770, 0o755),
            (parent.path(), 0o775, 0o755),
        ] {
            set_mode(path, mode);
            for place in [&*file, &*directory] {
                // The mode of a sticky directory does not matter to a file in it.
                let is_sticky = mode & 0o1000 != 0 && place == file;
                let found = problem(place);
                assert_eq!(found.is_none(), is_sticky, "{path:?} {mode:o} {place:?}");
                let remedy = format!("chmod go-w {}", path.display());
                assert!(found.is_none_or(|found| found.contains(&remedy)));
            }
            set_mode(path, usual);
            assert_eq!(problem(&directory), None);
        }
        if Uid::effective().is_root() {
            let give = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), None).unwrap();
            for path in [&*file, &*directory, parent.path()] {
                give(path, 65_534);
                for place in [&*file, &*directory] {
                    let found = problem(place).unwrap();
                    let remedy = format!("chown root {}", path.display());
                    assert!(found.contains(&remedy), "{found}");
                    // The files belong to the user, or the user is unknown.
                    for user in [Some(Uid::from_raw(65_534)), None] {
                        let files = FileKeySource::read_by(place.to_owned(), user);
                        assert!(files.newest(at(0), &Kept::default()).is_ok());
                    }
                }
                give(path, 0);
            }
        }
    }

    #[test]
    fn pipe_is_not_a_key_file() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe.pem");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe, directory.path().to_owned()] {
            let failure = FileKeySource::new(path).current(at(0), &Kept::default());
            assert_eq!(failure.unwrap_err().reason(), Reason::KeysUnusable);
        }
    }

    #[test]
    fn pem_and_jwk_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let files = FileKeySource::new(path.clone());
        let current = |now| files.current(now, &Kept::default());
        assert_eq!(current(at(0)).unwrap_err().reason(), Reason::KeysUnusable);
        fs::write(&path, hmac(1, 64)).unwrap();
        assert!(current(at(1)).unwrap().keys[0].fits(Algorithm::Hs512));
        fs::write(
            &path,
            " {\"keys\":[{\"kty\":\"oct\",\"k\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"}]}",
        )
        .unwrap();
        assert!(current(at(2_000)).unwrap().keys[0].fits(Algorithm::Hs256));
        fs::write(&path, "{").unwrap();
        assert_eq!(
            current(at(4_000)).unwrap_err().reason(),
            Reason::KeysUnusable
        );
    }

    #[test]
    fn file_without_a_key_is_logged_once_and_others_are_used() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("short.pem", &hmac(1, 8));
        write("long.pem", &"x".repeat(2 << 20));
        let files = FileKeySource::new(directory.path().to_owned());
        let log = Kept::default();
        for time in [0, 500, 2_000] {
            let failure = files.current(at(time), &log).unwrap_err();
            assert_eq!(failure.reason(), Reason::KeysUnusable);
        }
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        write("good.pem", &hmac(1, 32));
        assert_eq!(files.current(at(4_000), &log).unwrap().keys.len(), 1);
        assert!(lines.iter().all(|(level, line)| {
            *level == Level::Error && line.contains("sso: jwt_keys: ") && line.contains(".pem: ")
        }));
    }
}
