//! Tests that a corrupt session cache costs sessions, and locks nobody out.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{Answer, Driver, code};

const PROCESSES: usize = 4;

/// The session cache that the plugin has created.
fn store(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.scratch.join("state")).expect("the state directory");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_store = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mdb");
    paths.into_iter().find(is_store).expect("a store")
}

/// Has the first process validate a new ticket, and all others accept it from the cache.
fn all_know(site: &Site, drivers: &mut [Driver], ticket: &str) -> Vec<Answer> {
    site.cas.arm(ticket, "alice", &[PROXY]);
    let answers: Vec<Answer> = drivers
        .iter_mut()
        .map(|driver| driver.ticket(ticket))
        .collect();
    for answer in &answers {
        assert_eq!(answer.code(), code::OK, "{answer:?}");
    }
    answers
}

fn is_said(answers: &[Answer], what: &str) -> bool {
    let mut lines = answers.iter().flat_map(|answer| &answer.log);
    lines.any(|(_, text)| text.contains(what))
}

#[test]
fn truncated_cache_ends_no_process_and_is_created_again() {
    let site = Site::new("cut-short");
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&[])).collect();
    all_know(&site, &mut drivers, "PT-0-before");
    for (round, length) in [0, 100, 4_096, 8_192, 20_000].into_iter().enumerate() {
        let file = OpenOptions::new().write(true).open(store(&site));
        file.and_then(|file| file.set_len(length)).expect("a store");
        let ticket = format!("PT-{round}-after");
        let answers = all_know(&site, &mut drivers, &ticket);
        let is_lost = is_said(&answers, "sso: all sessions are lost");
        // An empty file counts as a missing one.
        assert_eq!(is_lost, length > 0, "{length}: {answers:?}");
    }
    // A ticket that CAS has accepted once is refused, and not accepted without asking.
    let lost = drivers[0].ticket("PT-0-before");
    assert_eq!(lost.reason(), "ticket_refused", "{lost:?}");
}

#[test]
fn overwritten_cache_is_created_again_by_later_logins() {
    let site = Site::new("overwritten");
    let mut drivers = [site.driver(&[])];
    all_know(&site, &mut drivers, "PT-0-before");
    let [driver] = drivers;
    driver.end();
    let file = OpenOptions::new()
        .write(true)
        .open(store(&site))
        .expect("a store");
    file.write_all_at(&[0xa5; 1 << 16], 0).expect("room");
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&[])).collect();
    let answers = all_know(&site, &mut drivers, "PT-1-after");
    assert!(
        is_said(&answers, "sso: all sessions are lost"),
        "{answers:?}"
    );
    all_know(&site, &mut drivers, "PT-2-after");
}

#[test]
fn file_size_limit_ends_no_process() {
    let site = Site::new("short-files");
    let limited = ["prlimit", "--fsize=1000000"];
    let mut drivers = [site.driver_under(&limited, &[])];
    let answers = all_know(&site, &mut drivers, "PT-0-limited");
    assert!(is_said(&answers, "raise that limit"), "{answers:?}");
    all_know(&site, &mut drivers, "PT-0-limited");
}
