//! Tests of a state directory to which another user of the host has access, before and during
//! logins: no file of that user is opened, nothing is written where its links lead, nobody waits
//! for it, and valid tokens are accepted all the same.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, geteuid, mkfifo, setfsgid, setfsuid};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use test_support::libsasl2::token_site::TokenSite;
use test_support::libsasl2::{Answer, Driver, code};
use test_support::root_only::can_as_root;
use test_support::scratch::set_mode;

/// The uid of the other user, nobody.
const STRANGER: u32 = 65_534;

/// The number of concurrent attempts of the other user and of the plugin.
fn attempts() -> usize {
    let asked = std::env::var("SSO_TRIES").ok();
    asked.map_or(1_000, |asked| asked.parse().expect("SSO_TRIES"))
}

/// A server whose state directory is in a directory that everybody can write to, with files of the
/// other user and of the mail server beside it.
struct SharedDirEnv {
    driver: Driver,
    _site: TokenSite,
    token: String,
    state: PathBuf,
    /// A private directory of the mail server, with a file.
    ours: PathBuf,
    /// A directory of the other user, with a session cache that it has created.
    his: PathBuf,
    /// The contents of both at the start.
    before: Vec<(PathBuf, u32, Vec<u8>)>,
}

impl SharedDirEnv {
    fn new(name: &str, mode: u32, wrapper: &[&str]) -> Self {
        let site = TokenSite::new(name);
        let [parent, ours, his] =
            ["parent", "ours", "his"].map(|name| site.scratch.create_dir(name));
        set_mode(&parent, mode);
        fs::write(ours.join("file"), "ours").expect("a file");
        set_mode(&ours.join("file"), 0o600);
        set_mode(&ours, 0o700);
        let keys = site.pem_file(&[&site.key]);
        let driver = |state: &Path, wrapper: &[&str]| {
            let state = state.display().to_string();
            site.driver_under(wrapper, &[("jwt_keys", &keys), ("sso_state_dir", &state)])
        };
        let token = site.token(json!({}));
        let store = his.join("store");
        assert_eq!(driver(&store, &[]).token(&token).code(), code::OK);
        for path in contents(&store).into_iter().map(|(path, ..)| path) {
            give(&path);
        }
        give(&store);
        give(&his);
        let state = parent.join("state");
        // A process that hangs is ended, and the test fails.
        let wrapper = [&["timeout", "300"], wrapper].concat();
        Self {
            driver: driver(&state, &wrapper),
            before: [contents(&ours), contents(&his), contents(&store)].concat(),
            token,
            state,
            ours,
            his,
            _site: site,
        }
    }

    /// Logs in with a new server process.
    fn log_in(&mut self) -> Answer {
        assert_eq!(self.driver.ask("reload").code(), 0);
        let answer = self.driver.token(&self.token);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        answer
    }

    /// Asserts that the files of both are unchanged.
    fn assert_unchanged(&self) {
        let store = self.his.join("store");
        let now = [contents(&self.ours), contents(&self.his), contents(&store)].concat();
        assert!(now == self.before, "{now:?}");
    }
}

/// All files in a directory: path, owner and contents.
fn contents(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let content = |path: PathBuf| {
        let metadata = fs::symlink_metadata(&path).expect("an entry");
        let text = if metadata.is_file() {
            fs::read(&path).expect("a file")
        } else {
            Vec::new()
        };
        (path, metadata.uid(), text)
    };
    paths.into_iter().map(content).collect()
}

fn give(path: &Path) {
    chown(path, Some(STRANGER), Some(STRANGER)).expect("giving away");
}

/// Stops the other user's actions, even if the test fails.
struct StopOnDrop<'f>(&'f AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From here on, this thread has the permissions of the other user in the file system.
fn become_the_stranger() {
    setfsgid(Gid::from_raw(STRANGER));
    setfsuid(Uid::from_raw(STRANGER));
}

/// The server's log line about the directory, if there is one. It must name a remedy.
fn trouble(answer: &Answer) -> Option<String> {
    let mut lines = answer.log.iter().map(|(_, text)| text);
    let is_trouble = |text: &str| text.starts_with("sso: ") && !text.starts_with("sso: mech=");
    let line = lines.find(|text| is_trouble(text))?;
    let remedies = ["remove", "chmod", "chown", "make"];
    let told = line
        .split_once("; ")
        .is_some_and(|(_, told)| remedies.iter().any(|remedy| told.contains(remedy)));
    assert!(told, "{line}");
    Some(line.clone())
}

/// Creates what another user, or an earlier version, may have left at a path.
fn plant(what: &str, path: &Path, place: &SharedDirEnv) {
    match what {
        "a link to ours" => symlink(place.ours.join("file"), path).expect("a link"),
        "a link to nothing" => symlink(place.ours.join("new"), path).expect("a link"),
        "another name of ours" => fs::hard_link(place.ours.join("file"), path).expect("a name"),
        "a link to our directory" => symlink(&place.ours, path).expect("a link"),
        "a link to his directory" => symlink(place.his.join("store"), path).expect("a link"),
        "a pipe" => mkfifo(path, Mode::S_IRWXU).expect("a pipe"),
        "a socket" => drop(UnixListener::bind(path).expect("a socket")),
        "a directory" => fs::create_dir(path).expect("a directory"),
        "a file" => fs::write(path, "x").expect("a file"),
        "his file" => {
            fs::write(path, "").expect("a file");
            give(path);
        }
        "his directory" => {
            fs::create_dir(path).expect("a directory");
            give(path);
        }
        other => panic!("{other}"),
    }
}

/// Removes whatever is at a path.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("removing"),
        Ok(_) => fs::remove_file(path).expect("removing"),
        Err(_) => {}
    }
}

#[test]
fn foreign_object_in_place_of_the_directory_is_not_used() {
    if !can_as_root() {
        return;
    }
    let mut place = SharedDirEnv::new("instead", 0o1777, &[]);
    for what in [
        "a link to ours",
        "a link to nothing",
        "a link to our directory",
        "a link to his directory",
        "a pipe",
        "a socket",
        "a file",
        "his file",
        "his directory",
    ] {
        let state = place.state.clone();
        plant(what, &state, &place);
        let answer = place.log_in();
        assert!(trouble(&answer).is_some(), "{what}: {answer:?}");
        place.assert_unchanged();
        if what == "his directory" {
            assert_eq!(contents(&state), []);
        }
        clear(&state);
    }
    assert_eq!(trouble(&place.log_in()), None);
}

#[test]
fn foreign_object_in_place_of_a_file_is_not_used() {
    if !can_as_root() {
        return;
    }
    let mut place = SharedDirEnv::new("within", 0o1777, &[]);
    place.log_in();
    let state = place.state.clone();
    let files: Vec<PathBuf> = contents(&state)
        .into_iter()
        .map(|(path, ..)| path)
        .collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        for what in [
            "a link to ours",
            "a link to nothing",
            "another name of ours",
            "a pipe",
            "a socket",
            "a directory",
            "his file",
        ] {
            clear(&state);
            assert_eq!(trouble(&place.log_in()), None);
            clear(&file);
            plant(what, &file, &place);
            let answer = place.log_in();
            let place_of = file.display();
            assert!(
                trouble(&answer).is_some(),
                "{what} for {place_of}: {answer:?}"
            );
            // Only the mail server itself is affected.
            if what == "another name of ours" {
                clear(&file);
            }
            place.assert_unchanged();
        }
    }
}

#[test]
fn created_files_are_private_with_any_umask() {
    if !can_as_root() {
        return;
    }
    let wrapper = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    let mut place = SharedDirEnv::new("umask", 0o1777, &wrapper);
    assert_eq!(trouble(&place.log_in()), None);
    let mode = |path: &Path| fs::symlink_metadata(path).expect("an entry").mode() & 0o7777;
    assert_eq!(mode(&place.state), 0o700);
    for (file, ..) in contents(&place.state) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn directory_created_first_by_another_user_is_not_opened() {
    if !can_as_root() {
        return;
    }
    let mut place = SharedDirEnv::new("first", 0o1777, &[]);
    let (state, ours, his) = (place.state.clone(), place.ours.clone(), place.his.clone());
    let is_over = AtomicBool::new(false);
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            become_the_stranger();
            let store = his.join("store");
            while !is_over.load(Ordering::Relaxed) {
                let _ = fs::rename(&store, &state);
                let _ = fs::rename(&state, &store);
                let _ = symlink(&ours, &state).and_then(|()| fs::remove_file(&state));
                let _ = symlink(&store, &state).and_then(|()| fs::remove_file(&state));
                let _ = mkfifo(&state, Mode::S_IRWXU).map(|()| fs::remove_file(&state));
            }
            let _ = fs::rename(&state, &store);
        });
        let _over = StopOnDrop(&is_over);
        while opened + refused < attempts() || opened == 0 || refused == 0 {
            match trouble(&place.log_in()) {
                None => opened += 1,
                Some(_) => refused += 1,
            }
            // Only the owner can remove it.
            let found = fs::symlink_metadata(&state);
            if found.is_ok_and(|found| found.uid() == geteuid().as_raw()) {
                clear(&state);
            }
        }
    });
    place.assert_unchanged();
}

#[test]
fn directory_that_everybody_can_replace_is_not_opened() {
    if !can_as_root() {
        return;
    }
    let mut place = SharedDirEnv::new("replaced", 0o777, &[]);
    let (state, his) = (place.state.clone(), place.his.clone());
    fs::create_dir(&state).expect("a directory");
    set_mode(&state, 0o700);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            become_the_stranger();
            let (store, mut exchanged) = (state.with_file_name("store"), 0);
            fs::rename(his.join("store"), &store).expect("a directory of his");
            while !is_over.load(Ordering::Relaxed) || exchanged % 2 == 1 {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &store, AT_FDCWD, &state, flags).expect("an exchange");
                exchanged += 1;
            }
            fs::rename(&store, his.join("store")).expect("a directory of his");
        });
        let _over = StopOnDrop(&is_over);
        for _ in 0..attempts() {
            let answer = place.log_in();
            assert!(trouble(&answer).is_some(), "{answer:?}");
        }
    });
    place.assert_unchanged();
    assert_eq!(contents(&state), []);
}
