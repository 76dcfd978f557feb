//! Tests of the host tier with real files, locks and processes.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;

use super::environment::MAX_READERS;
use super::*;
use crate::platform::clock::BootTime;
use crate::session_cache::backend::{Backend, Change};
use crate::session_cache::cache_key::Secret;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::store_name;

pub(crate) fn put(
    host: &LmdbBackend,
    table: Table,
    number: u32,
    at: u64,
    record: &[u8],
) -> Result<(), StoreError> {
    host.update(
        table,
        &Key::of_test(number),
        BootTime::from_millis(at),
        &mut |_| Change::Put(record.to_vec()),
    )
}

pub(crate) fn has(host: &LmdbBackend, number: u32) -> bool {
    let found = host.find(Table::Tickets, &Key::of_test(number), LOCK_TIMEOUT);
    found.unwrap().is_some()
}

/// Closes the cache in this process, as the end of a process does.
pub(crate) fn close(host: LmdbBackend) {
    let env = host.env.lmdb().clone();
    drop(host);
    env.prepare_for_closing().wait();
}

#[test]
fn records_outlive_the_process_that_wrote_them() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open(directory.path(), 10).unwrap();
    put(&host, Table::Tickets, 1, 5, b"alice").unwrap();
    let secret = *host.secret();
    close(host);
    let host = LmdbBackend::open(directory.path(), 10).unwrap();
    assert_eq!(
        host.find(Table::Tickets, &Key::of_test(1), LOCK_TIMEOUT)
            .unwrap()
            .as_deref(),
        Some(&b"alice"[..])
    );
    assert_eq!(*host.secret(), secret);
}

#[test]
fn least_recently_used_record_is_evicted_first() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open(directory.path(), 3).unwrap();
    for number in 1..=3 {
        put(&host, Table::Tickets, number, u64::from(number), b"x").unwrap();
    }
    put(&host, Table::Tickets, 1, 10, b"x").unwrap();
    put(&host, Table::Tickets, 4, 11, b"x").unwrap();
    assert!(has(&host, 1) && has(&host, 3) && has(&host, 4));
    assert!(!has(&host, 2));
}

#[test]
fn negative_entries_evict_no_session_and_expire() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open(directory.path(), 3).unwrap();
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    for number in 0..100 {
        put(&host, Table::NegativeEntries, number, 2, b"no").unwrap();
    }
    assert!(has(&host, 1));
    put(&host, Table::NegativeEntries, 200, 100_000, b"no").unwrap();
    let transaction = host.env.read_txn(LOCK_TIMEOUT).unwrap();
    let refusals = host
        .table_of(Table::NegativeEntries)
        .records
        .len(&transaction);
    assert_eq!(refusals.unwrap(), 1);
}

#[test]
fn removed_record_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open(directory.path(), 3).unwrap();
    put(&host, Table::Tickets, 1, 1, b"alice").unwrap();
    let key = Key::of_test(1);
    host.update(
        Table::Tickets,
        &key,
        BootTime::from_millis(2),
        &mut |before| {
            assert_eq!(before, Some(&b"alice"[..]));
            Change::Remove
        },
    )
    .unwrap();
    let transaction = host.env.read_txn(LOCK_TIMEOUT).unwrap();
    let table = host.table_of(Table::Tickets);
    assert!(table.records.is_empty(&transaction).unwrap());
    assert!(table.order.is_empty(&transaction).unwrap());
}

/// Changes one record until there is no room for another copy of a page.
fn churn(host: &LmdbBackend) -> Result<(), StoreError> {
    (0..2_000).try_for_each(|time| put(host, Table::Tickets, time % 50, 1, &[b'x'; 200]))
}

#[test]
fn longest_records_fit_in_any_order_up_to_the_capacity() {
    let directory = tempfile::tempdir().unwrap();
    let capacity = 2_000;
    let host = LmdbBackend::open(directory.path(), capacity).unwrap();
    let secret = Secret::new(host.secret());
    for number in 0..3 * capacity {
        let key = secret.key(&[&number.to_be_bytes()]);
        for table in [Table::Tickets, Table::NegativeEntries] {
            host.update(
                table,
                &key,
                BootTime::from_millis(number as u64),
                &mut |_| Change::Put(vec![b'x'; 16 + 255 + 16]),
            )
            .unwrap();
        }
    }
    let transaction = host.env.read_txn(LOCK_TIMEOUT).unwrap();
    let held = host.table_of(Table::Tickets).records.len(&transaction);
    assert_eq!(held.unwrap(), capacity as u64);
}

#[test]
fn stopped_reader_is_an_error_with_a_remedy_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open_with_room(directory.path(), 100, 512 * 1024).unwrap();
    put(&host, Table::Tickets, 1, 1, b"x").unwrap();
    let reading = host.env.read_txn(LOCK_TIMEOUT).unwrap();
    let trouble = churn(&host).unwrap_err().to_string();
    assert!(trouble.contains("stopped while it read"), "{trouble}");
    // A thread has one transaction at a time.
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| has(&host, 1));
        assert!(reading.join().unwrap());
    });
    drop(reading);
    churn(&host).unwrap();
}

#[test]
fn cache_of_another_user_is_rejected() {
    for name in ["", "-lock", "locks"] {
        let directory = tempfile::tempdir().unwrap();
        let path = match name {
            "locks" => directory.path().join(name),
            suffix => directory.path().join(store_name().unwrap() + suffix),
        };
        close(LmdbBackend::open(directory.path(), 10).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let trouble = LmdbBackend::open(directory.path(), 10)
            .err()
            .unwrap()
            .to_string();
        assert!(trouble.contains("not a private file"), "{trouble}");
    }
}

#[test]
fn lowered_capacity_evicts_in_small_steps() {
    let directory = tempfile::tempdir().unwrap();
    let many = 20_000;
    let host = LmdbBackend::open(directory.path(), many).unwrap();
    let secret = Secret::new(host.secret());
    let put = |host: &LmdbBackend, number: usize| {
        let key = secret.key(&[&number.to_be_bytes()]);
        let now = BootTime::from_millis(number as u64);
        host.update(Table::Tickets, &key, now, &mut |_| {
            Change::Put(vec![b'x'; 200])
        })
    };
    for number in 0..many {
        put(&host, number).unwrap();
    }
    close(host);
    // The map would be too small for the cache.
    let host = LmdbBackend::open(directory.path(), 100).unwrap();
    let held = || {
        let transaction = host.env.read_txn(LOCK_TIMEOUT).unwrap();
        let records = host.table_of(Table::Tickets).records;
        records.len(&transaction).unwrap()
    };
    put(&host, many).unwrap();
    assert!(held() > 19_900);
    for number in 1..400 {
        put(&host, many + number).unwrap();
    }
    assert_eq!(held(), 100);
}

#[test]
fn more_processes_than_slots_can_read() {
    let directory = tempfile::tempdir().unwrap();
    if let Ok(state) = std::env::var("SSO_TEST_READ_AND_END") {
        let host = LmdbBackend::open(Path::new(&state), 10).unwrap();
        assert!(has(&host, 1));
        // imapd ends without closing anything. The status shows that the child ran this test.
        std::process::exit(7);
    }
    let host = LmdbBackend::open(directory.path(), 10).unwrap();
    put(&host, Table::Tickets, 1, 1, b"x").unwrap();
    for _ in 0..MAX_READERS + 4 {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("more_processes_than_slots_can_read")
            .env("SSO_TEST_READ_AND_END", directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    }
    assert!(has(&host, 1));
}

#[test]
fn files_of_earlier_boots_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let earlier = directory.path().join("sessions-9-0123456789ab.mdb-lock");
    let foreign = directory.path().join("notes.txt");
    std::fs::write(&earlier, b"x").unwrap();
    std::fs::write(&foreign, b"x").unwrap();
    LmdbBackend::open(directory.path(), 10).unwrap();
    assert!(!earlier.exists());
    assert!(foreign.exists());
}

#[test]
fn stopped_writer_delays_others_for_a_limited_time() {
    let directory = tempfile::tempdir().unwrap();
    let host = LmdbBackend::open(directory.path(), 10).unwrap();
    let _stopped = host.locks.lock(What::Writing, LOCK_TIMEOUT).unwrap();
    let trouble = put(&host, Table::Tickets, 1, 1, b"x").unwrap_err();
    assert!(
        trouble.to_string().contains("that was stopped"),
        "{trouble}"
    );
    assert!(!has(&host, 1));
}

#[test]
fn slots_of_killed_readers_are_used_again() {
    // Each child takes a reader slot and dies with it.
    let directory = tempfile::tempdir().unwrap();
    if let Ok(state) = std::env::var("SSO_TEST_READ_AND_DIE") {
        let host = LmdbBackend::open(Path::new(&state), 10).unwrap();
        let _reading = host.env.read_txn(LOCK_TIMEOUT).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let host = LmdbBackend::open_with_room(directory.path(), 100, 512 * 1024).unwrap();
    for _ in 0..3 {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .arg("slots_of_killed_readers_are_used_again")
            .env("SSO_TEST_READ_AND_DIE", directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
    }
    // The pages that killed readers pin would fill this room.
    churn(&host).unwrap();
    assert!(has(&host, 1));
    assert_eq!(host.env.clear_stale_readers().unwrap(), 0);
}

#[test]
fn killed_reader_does_not_make_the_cache_grow() {
    let directory = tempfile::tempdir().unwrap();
    if let Ok(state) = std::env::var("SSO_TEST_READ_AND_DIE") {
        let host = LmdbBackend::open(Path::new(&state), 10).unwrap();
        let _reading = host.env.read_txn(LOCK_TIMEOUT).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let host = LmdbBackend::open(directory.path(), 100).unwrap();
    churn(&host).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("killed_reader_does_not_make_the_cache_grow")
        .env("SSO_TEST_READ_AND_DIE", directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    churn(&host).unwrap();
    let taken = 512 * host.file.metadata().unwrap().blocks();
    assert!(taken < 8 << 20, "{taken} bytes");
}

#[test]
fn map_of_the_parent_process_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = LmdbBackend::open(directory.path(), 10).unwrap();
    put(&host, Table::Tickets, 1, 1, b"x").unwrap();
    host.pid += 1;
    let trouble = host
        .find(Table::Tickets, &Key::of_test(1), LOCK_TIMEOUT)
        .unwrap_err();
    assert!(trouble.to_string().contains("fork"), "{trouble}");
}
