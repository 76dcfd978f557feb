//! Stores that are not as LMDB left them, and what becomes of who looks into them.

// What the processes of the tests say to one another.
#![allow(clippy::print_stdout)]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use std::sync::atomic::AtomicBool;

use super::corruption::remove;
use super::tests::{close, has, put};
use super::*;
use crate::session_cache::backend::Tier;
use crate::state_dir::boot_file::store_name;

const PAGE: usize = 4_096;

/// In bytes: so much of a store is spoilt. About as much has a thousand sessions.
const SPOILT: usize = 100 * PAGE;

fn store_in(directory: &Path) -> PathBuf {
    directory.join(store_name().unwrap())
}

fn filled(directory: &Path, sessions: u32) -> Host {
    let host = Host::open(directory, 10_000).unwrap();
    for number in 0..sessions {
        put(&host, Table::Tickets, number, 1, &[b'x'; 200]).unwrap();
    }
    host
}

/// What is said of a store that had to be made anew; it works.
fn made_anew(directory: &Path) -> String {
    let host = Host::open(directory, 10_000).unwrap();
    let said = host.mended().expect("a damaged store").to_string();
    assert!(said.contains("nothing need be done"), "{said}");
    assert!(!has(&host, 1));
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    close(host);
    let host = Host::open(directory, 10_000).unwrap();
    assert!(host.mended().is_none() && has(&host, 1));
    close(host);
    said
}

#[test]
fn what_is_no_store_is_made_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path());
    for length in [1, PAGE, PAGE + 1, 16 * PAGE] {
        std::fs::write(&path, vec![b'x'; length]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        made_anew(directory.path());
    }
}

#[test]
fn a_store_that_was_cut_short_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    for length in [1, PAGE, 2 * PAGE, 4 * PAGE + 1] {
        close(filled(directory.path(), 500));
        let file = OpenOptions::new()
            .write(true)
            .open(store_in(directory.path()));
        file.unwrap().set_len(length as u64).unwrap();
        made_anew(directory.path());
    }
    // With nothing in it, it is as if it were not there.
    close(filled(directory.path(), 500));
    std::fs::write(store_in(directory.path()), "").unwrap();
    let host = Host::open(directory.path(), 10_000).unwrap();
    assert!(!has(&host, 1));
}

#[test]
fn of_a_store_that_lost_no_page_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 500));
    let file = OpenOptions::new()
        .write(true)
        .open(store_in(directory.path()))
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 64 * PAGE as u64).unwrap();
    let host = Host::open(directory.path(), 10_000).unwrap();
    assert!(host.mended().is_none() && has(&host, 1));
    assert_eq!(file.metadata().unwrap().len(), length);
}

#[test]
fn a_store_that_is_damaged_inside_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    // From a few pages to several hundred.
    for sessions in [10, 500, 3_000] {
        let host = filled(directory.path(), sessions);
        let pages = host.env.lmdb().info().last_page_number;
        close(host);
        let file = OpenOptions::new()
            .write(true)
            .open(store_in(directory.path()))
            .unwrap();
        let half = pages / 2 * PAGE;
        file.write_all_at(&vec![0xa5; (pages + 1) * PAGE - half], half as u64)
            .unwrap();
        let said = made_anew(directory.path());
        assert!(said.contains("damaged at page"), "{said}");
    }
}

#[test]
fn a_store_with_something_behind_its_end_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 10));
    let file = OpenOptions::new()
        .append(true)
        .open(store_in(directory.path()));
    file.unwrap().write_all(b"x").unwrap();
    made_anew(directory.path());
}

/// Where a store says how many pages it has: `mm_last_pg` of both descriptions (`MDB_meta`
/// in mdb.c), behind the head of the page.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_store_that_says_it_is_larger_than_it_is_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    for pages in [100_000_u64, 1 << 40, u64::MAX >> 12, u64::MAX] {
        close(filled(directory.path(), 500));
        let file = OpenOptions::new()
            .write(true)
            .open(store_in(directory.path()))
            .unwrap();
        for meta in [0, PAGE as u64] {
            file.write_all_at(&pages.to_ne_bytes(), meta + 136).unwrap();
        }
        made_anew(directory.path());
    }
}

#[cfg(target_pointer_width = "64")]
#[test]
fn who_is_told_of_more_pages_than_there_can_be_has_it_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let host = filled(directory.path(), 500);
    for meta in [0, PAGE as u64] {
        host.file
            .write_all_at(&(1_u64 << 30).to_ne_bytes(), meta + 136)
            .unwrap();
    }
    let told = put(&host, Table::Tickets, 1, 1, b"alice").unwrap_err();
    assert!(told.to_string().contains("it is made anew"), "{told}");
    close(host);
    let host = Host::open(directory.path(), 10_000).unwrap();
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    close(host);
}

#[test]
fn who_waited_to_write_while_it_was_taken_away_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let host = filled(directory.path(), 10);
    let writes = host.locks.lock(What::Writing, PATIENCE).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| put(&host, Table::Tickets, 1, 1, b"alice"));
        // It looks whether the store is there before it waits.
        std::thread::sleep(PATIENCE / 10);
        remove(&host.path).unwrap();
        drop(writes);
        let told = waits.join().unwrap().unwrap_err().to_string();
        assert!(told.contains("was removed"), "{told}");
    });
}

#[test]
fn who_waited_while_it_was_cut_short_is_told_and_not_ended() {
    let directory = tempfile::tempdir().unwrap();
    let host = filled(directory.path(), 500);
    std::fs::write(store_in(directory.path()), "").unwrap();
    for number in 0..500 {
        let found = host.find(Table::Tickets, &Key::of_test(number), PATIENCE);
        let told = found.err().unwrap().to_string();
        assert!(told.contains("cut short"), "{told}");
    }
}

/// Whether this process has mapped what is noted as the identity of its store.
fn is_mapped(host: &Host) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let inode = host.identity.1.to_string();
    maps.lines()
        .any(|line| line.split_ascii_whitespace().nth(4) == Some(&inode))
}

#[test]
fn whatever_is_put_in_its_place_meanwhile_the_store_that_is_open_is_the_one_that_is_watched() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path());
    let others = [(); 200].map(|()| tempfile::tempdir().unwrap());
    for other in others.iter().map(tempfile::TempDir::path) {
        close(Host::open(other, 100).unwrap());
    }
    close(Host::open(directory.path(), 100).unwrap());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for other in &others {
                std::fs::rename(store_in(other.path()), &path).unwrap();
                std::thread::sleep(Duration::from_micros(100));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut opened = 0;
        while !is_over.load(Ordering::Relaxed) || opened == 0 {
            if let Ok(host) = Host::open(directory.path(), 100) {
                opened += 1;
                assert!(is_mapped(&host), "after {opened}");
                close(host);
            }
        }
    });
}

#[test]
fn who_only_looks_on_takes_nothing_away() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 500));
    let path = store_in(directory.path());
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4 * PAGE as u64)
        .unwrap();
    let said = Host::open_existing(directory.path(), 10_000).err().unwrap();
    assert!(
        said.to_string().contains("the next login makes it anew"),
        "{said}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 * PAGE as u64);
}

/// Another process that looks every session up whenever it is told to: as a test of its
/// own, which does nothing else.
struct Reader(Child, BufReader<std::process::ChildStdout>);

impl Reader {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "who_looks_into_a_damaged_store"])
            .env("SSO_TEST_LOOK_INTO", state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    /// Looks once; its end, if that was it.
    fn look(&mut self) -> Option<String> {
        let told = self.0.stdin.as_mut().unwrap().write_all(b"look\n");
        let mut line = String::new();
        while told.is_ok() && self.1.read_line(&mut line).unwrap() > 0 {
            if line.ends_with("looked\n") {
                return None;
            }
        }
        let status = self.0.wait().unwrap();
        assert!(
            status.signal().is_some_and(|signal| signal != 9),
            "{status}"
        );
        Some(status.to_string())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a [`Reader`] is. As in `SessionCache`, each look-up is preceded by a look whether
/// the store is still there, or is to be opened anew.
fn look_whenever_told(state: &Path) {
    let open = || Host::open(state, 10_000).unwrap();
    let mut host = Some(open());
    for line in std::io::stdin().lines() {
        line.unwrap();
        for number in 0..1_000 {
            let current = host.take().filter(Host::is_whole).unwrap_or_else(open);
            let _ = current.find(Table::Tickets, &Key::of_test(number), PATIENCE);
            host = Some(current);
        }
        println!("looked");
    }
    std::process::exit(0);
}

#[test]
fn who_looks_into_a_damaged_store_is_ended_three_times_at_most() {
    if let Ok(state) = std::env::var("SSO_TEST_LOOK_INTO") {
        look_whenever_told(Path::new(&state));
    }
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good");
    close(filled(&good, 1_000));
    let mut most = 0;
    for round in 0..24 {
        let state = directory.path().join(round.to_string());
        let copied = Command::new("cp").arg("-a").args([&good, &state]).status();
        assert!(copied.unwrap().success());
        let mut reader = Reader::start(&state);
        assert_eq!(reader.look(), None);
        damage(&store_in(&state), round);
        let mut ended = Vec::new();
        while let Some(end) = reader.look() {
            ended.push(end);
            assert!(ended.len() <= 3, "round {round}: {ended:?}");
            reader = Reader::start(&state);
        }
        most = most.max(ended.len());
        drop(reader);
        // It takes sessions again, or takes them still.
        let host = Host::open(&state, 10_000).unwrap();
        if put(&host, Table::Tickets, 1_000, 3, b"alice").is_err() {
            close(host);
            let host = Host::open(&state, 10_000).unwrap();
            put(&host, Table::Tickets, 1_000, 3, b"alice").unwrap();
        }
    }
    // It is no test if the damage does none that is not seen when the store is opened.
    assert_eq!(most, 3);
}

/// Spoils every tenth page or cuts the file short, in one of many ways, while it is
/// mapped: the same ways in every run.
fn damage(path: &Path, round: usize) {
    let mut state = round as u64;
    let mut next = |below: usize| {
        // Knuth's MMIX.
        state = state.wrapping_mul(6_364_136_223_846_793_005);
        state = state.wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut bytes = Vec::new();
    (&file).take(SPOILT as u64).read_to_end(&mut bytes).unwrap();
    let pages = bytes.len() / PAGE;
    for _ in 0..pages / 10 {
        let page = next(pages) * PAGE;
        match round % 4 {
            0 => lengthen(&mut bytes, next(1_000) as u32),
            1 => bytes[page..page + PAGE].fill(next(256) as u8),
            2 => bytes[page..page + PAGE]
                .iter_mut()
                .for_each(|byte| *byte = next(256) as u8),
            _ => return file.set_len(next(bytes.len()) as u64).unwrap(),
        }
    }
    file.write_all_at(&bytes, 0).unwrap();
}

/// Has a record be longer than the store. LMDB writes its length before its key
/// (`MDB_node` in mdb.c).
fn lengthen(bytes: &mut [u8], number: u32) {
    let key = Key::of_test(number);
    let places = 8..bytes.len() - Key::LENGTH;
    for place in places.filter(|place| place % 2 == 0) {
        if bytes[place..].starts_with(key.as_bytes()) {
            bytes[place - 8..place - 4].fill(0xff);
        }
    }
}
