//! Tests of corrupt session caches, and of the processes that read them.

// The processes of the tests communicate by standard output.
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
use crate::session_cache::backend::Backend;
use crate::state_dir::boot_file::store_name;

const PAGE: usize = 4_096;

/// The size of the part that is corrupted, in bytes: about that of a thousand sessions.
const CORRUPT_BYTES: usize = 100 * PAGE;

fn store_in(directory: &Path) -> PathBuf {
    directory.join(store_name().unwrap())
}

fn filled(directory: &Path, sessions: u32) -> LmdbBackend {
    let host = LmdbBackend::open(directory, 10_000).unwrap();
    for number in 0..sessions {
        put(&host, Table::Tickets, number, 1, &[b'x'; 200]).unwrap();
    }
    host
}

/// The reason why a cache had to be created again. The new cache works.
fn created_again(directory: &Path) -> String {
    let host = LmdbBackend::open(directory, 10_000).unwrap();
    let said = host
        .replaced_because()
        .expect("a damaged store")
        .to_string();
    assert!(said.contains("nothing need be done"), "{said}");
    assert!(!has(&host, 1));
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    close(host);
    let host = LmdbBackend::open(directory, 10_000).unwrap();
    assert!(host.replaced_because().is_none() && has(&host, 1));
    close(host);
    said
}

#[test]
fn file_that_is_no_cache_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path());
    for length in [1, PAGE, PAGE + 1, 16 * PAGE] {
        std::fs::write(&path, vec![b'x'; length]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        created_again(directory.path());
    }
}

#[test]
fn truncated_cache_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    for length in [1, PAGE, 2 * PAGE, 4 * PAGE + 1] {
        close(filled(directory.path(), 500));
        let file = OpenOptions::new()
            .write(true)
            .open(store_in(directory.path()));
        file.unwrap().set_len(length as u64).unwrap();
        created_again(directory.path());
    }
    // An empty file counts as missing.
    close(filled(directory.path(), 500));
    std::fs::write(store_in(directory.path()), "").unwrap();
    let host = LmdbBackend::open(directory.path(), 10_000).unwrap();
    assert!(!has(&host, 1));
}

#[test]
fn truncation_of_unused_pages_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 500));
    let file = OpenOptions::new()
        .write(true)
        .open(store_in(directory.path()))
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 64 * PAGE as u64).unwrap();
    let host = LmdbBackend::open(directory.path(), 10_000).unwrap();
    assert!(host.replaced_because().is_none() && has(&host, 1));
    assert_eq!(file.metadata().unwrap().len(), length);
}

#[test]
fn overwritten_cache_is_created_again() {
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
        let said = created_again(directory.path());
        assert!(said.contains("damaged at page"), "{said}");
    }
}

#[test]
fn cache_with_data_after_its_end_is_created_again() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 10));
    let file = OpenOptions::new()
        .append(true)
        .open(store_in(directory.path()));
    file.unwrap().write_all(b"x").unwrap();
    created_again(directory.path());
}

/// The offset of the number of pages in a cache: `mm_last_pg` of both meta pages (`MDB_meta` in
/// mdb.c), after the page header.
#[cfg(target_pointer_width = "64")]
#[test]
fn cache_with_too_large_a_page_count_is_created_again() {
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
        created_again(directory.path());
    }
}

#[cfg(target_pointer_width = "64")]
#[test]
fn impossible_page_count_is_detected_by_an_open_cache() {
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
    let host = LmdbBackend::open(directory.path(), 10_000).unwrap();
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    close(host);
}

#[test]
fn writer_detects_that_the_cache_was_removed_while_it_waited() {
    let directory = tempfile::tempdir().unwrap();
    let host = filled(directory.path(), 10);
    let writes = host.locks.lock(What::Writing, LOCK_TIMEOUT).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| put(&host, Table::Tickets, 1, 1, b"alice"));
        // The writer checks whether the cache exists before it waits.
        std::thread::sleep(LOCK_TIMEOUT / 10);
        remove(&host.path).unwrap();
        drop(writes);
        let told = waits.join().unwrap().unwrap_err().to_string();
        assert!(told.contains("was removed"), "{told}");
    });
}

#[test]
fn reader_detects_that_the_cache_was_truncated_while_it_waited() {
    let directory = tempfile::tempdir().unwrap();
    let host = filled(directory.path(), 500);
    std::fs::write(store_in(directory.path()), "").unwrap();
    for number in 0..500 {
        let found = host.find(Table::Tickets, &Key::of_test(number), LOCK_TIMEOUT);
        let told = found.err().unwrap().to_string();
        assert!(told.contains("cut short"), "{told}");
    }
}

/// Whether this process has mapped the file whose identity was recorded.
fn is_mapped(host: &LmdbBackend) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let inode = host.identity.1.to_string();
    maps.lines()
        .any(|line| line.split_ascii_whitespace().nth(4) == Some(&inode))
}

#[test]
fn replaced_file_is_detected_while_the_cache_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = store_in(directory.path());
    let others = [(); 200].map(|()| tempfile::tempdir().unwrap());
    for other in others.iter().map(tempfile::TempDir::path) {
        close(LmdbBackend::open(other, 100).unwrap());
    }
    close(LmdbBackend::open(directory.path(), 100).unwrap());
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
            if let Ok(host) = LmdbBackend::open(directory.path(), 100) {
                opened += 1;
                assert!(is_mapped(&host), "after {opened}");
                close(host);
            }
        }
    });
}

#[test]
fn read_only_cache_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    close(filled(directory.path(), 500));
    let path = store_in(directory.path());
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(4 * PAGE as u64)
        .unwrap();
    let said = LmdbBackend::open_existing(directory.path(), 10_000)
        .err()
        .unwrap();
    assert!(
        said.to_string().contains("the next login makes it anew"),
        "{said}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 * PAGE as u64);
}

/// Another process that looks up all sessions whenever it is told to: this test binary, running one
/// test.
struct Reader(Child, BufReader<std::process::ChildStdout>);

impl Reader {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "corrupt_cache_ends_at_most_three_processes"])
            .env("SSO_TEST_LOOK_INTO", state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self(child, output)
    }

    /// Looks up all sessions once. Returns how the process ended, if it did.
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

/// The body of a [`Reader`]. As in `SessionCache`, each look-up is preceded by a check whether the
/// cache must be opened again.
fn look_whenever_told(state: &Path) {
    let open = || LmdbBackend::open(state, 10_000).unwrap();
    let mut host = Some(open());
    for line in std::io::stdin().lines() {
        line.unwrap();
        for number in 0..1_000 {
            let current = host
                .take()
                .filter(LmdbBackend::is_complete)
                .unwrap_or_else(open);
            let _ = current.find(Table::Tickets, &Key::of_test(number), LOCK_TIMEOUT);
            host = Some(current);
        }
        println!("looked");
    }
    std::process::exit(0);
}

#[test]
fn corrupt_cache_ends_at_most_three_processes() {
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
        // The cache takes sessions again, or still does.
        let host = LmdbBackend::open(&state, 10_000).unwrap();
        if put(&host, Table::Tickets, 1_000, 3, b"alice").is_err() {
            close(host);
            let host = LmdbBackend::open(&state, 10_000).unwrap();
            put(&host, Table::Tickets, 1_000, 3, b"alice").unwrap();
        }
    }
    // The test is valid only if some corruption is not detected when the cache is opened.
    assert_eq!(most, 3);
}

/// Corrupts every tenth page or truncates the file, in one of many ways, while it is mapped. The
/// ways are the same in every run.
fn damage(path: &Path, round: usize) {
    let mut state = round as u64;
    let mut next = |below: usize| {
        // The constant is that of Knuth's MMIX.
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
    (&file)
        .take(CORRUPT_BYTES as u64)
        .read_to_end(&mut bytes)
        .unwrap();
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

/// Makes a record longer than the cache. LMDB writes the length of a record before its key
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
