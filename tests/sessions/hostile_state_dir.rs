//! The state directory where another user of the host has been before, and while he goes on: nothing
//! of his is opened, nothing is written where he points to, nobody waits for him, and who has a good
//! token logs in all the same.

// clippy sees no tests outside of #[test] functions.
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

/// The user nobody.
const STRANGER: u32 = 65_534;

/// How often the stranger and we are at it at the same time.
fn tries() -> usize {
    let asked = std::env::var("SSO_TRIES").ok();
    asked.map_or(1_000, |asked| asked.parse().expect("SSO_TRIES"))
}

/// A server that makes its state directory where everybody may make something, and what a stranger
/// and we have beside it.
struct Place {
    driver: Driver,
    _site: TokenSite,
    token: String,
    state: PathBuf,
    /// A private directory with a file.
    ours: PathBuf,
    /// The stranger's, with a store that he made.
    his: PathBuf,
    /// What was in both at the beginning.
    before: Vec<(PathBuf, u32, Vec<u8>)>,
}

impl Place {
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
        // What hangs ends, and the test with it.
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

    /// A login of a server that has just begun.
    fn log_in(&mut self) -> Answer {
        assert_eq!(self.driver.ask("reload").code(), 0);
        let answer = self.driver.token(&self.token);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        answer
    }

    /// What is ours and what is his is as it was.
    fn nothing_was_touched(&self) {
        let store = self.his.join("store");
        let now = [contents(&self.ours), contents(&self.his), contents(&store)].concat();
        assert!(now == self.before, "{now:?}");
    }
}

/// All that is in a directory: whose, and what is in it.
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

/// Ends what the stranger does, also if the test has failed.
struct Over<'f>(&'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From here on this thread does in the file system what the stranger may do.
fn become_the_stranger() {
    setfsgid(Gid::from_raw(STRANGER));
    setfsuid(Uid::from_raw(STRANGER));
}

/// What the server said about the directory, if it did; always what to do, too.
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

/// What a stranger, or we ourselves long ago, may have left at a path.
fn plant(what: &str, path: &Path, place: &Place) {
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

/// Takes away what is at a path, whatever it is.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("removing"),
        Ok(_) => fs::remove_file(path).expect("removing"),
        Err(_) => {}
    }
}

#[test]
fn what_is_in_the_place_of_the_directory_is_left_alone() {
    if !can_as_root() {
        return;
    }
    let mut place = Place::new("instead", 0o1777, &[]);
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
        place.nothing_was_touched();
        if what == "his directory" {
            assert_eq!(contents(&state), []);
        }
        clear(&state);
    }
    assert_eq!(trouble(&place.log_in()), None);
}

#[test]
fn what_is_in_the_place_of_a_file_is_left_alone() {
    if !can_as_root() {
        return;
    }
    let mut place = Place::new("within", 0o1777, &[]);
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
            // It is in the way of nobody but us.
            if what == "another name of ours" {
                clear(&file);
            }
            place.nothing_was_touched();
        }
    }
}

#[test]
fn whatever_the_umask_nobody_else_can_open_what_is_made() {
    if !can_as_root() {
        return;
    }
    let wrapper = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
    let mut place = Place::new("umask", 0o1777, &wrapper);
    assert_eq!(trouble(&place.log_in()), None);
    let mode = |path: &Path| fs::symlink_metadata(path).expect("an entry").mode() & 0o7777;
    assert_eq!(mode(&place.state), 0o700);
    for (file, ..) in contents(&place.state) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn where_everybody_may_make_it_first_only_ours_is_opened() {
    if !can_as_root() {
        return;
    }
    let mut place = Place::new("first", 0o1777, &[]);
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
        let _over = Over(&is_over);
        while opened + refused < tries() || opened == 0 || refused == 0 {
            match trouble(&place.log_in()) {
                None => opened += 1,
                Some(_) => refused += 1,
            }
            // Only we can take away what is ours.
            let found = fs::symlink_metadata(&state);
            if found.is_ok_and(|found| found.uid() == geteuid().as_raw()) {
                clear(&state);
            }
        }
    });
    place.nothing_was_touched();
}

#[test]
fn where_everybody_could_replace_it_nothing_is_opened() {
    if !can_as_root() {
        return;
    }
    let mut place = Place::new("replaced", 0o777, &[]);
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
        let _over = Over(&is_over);
        for _ in 0..tries() {
            let answer = place.log_in();
            assert!(trouble(&answer).is_some(), "{answer:?}");
        }
    });
    place.nothing_was_touched();
    assert_eq!(contents(&state), []);
}
