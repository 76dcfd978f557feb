//! What is done to the store under those who use it costs sessions, and locks nobody out.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{Answer, Driver, code};

const PROCESSES: usize = 4;

/// The store that the plugin has made.
fn store(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.scratch.join("state")).expect("the state directory");
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_store = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "mdb");
    paths.into_iter().find(is_store).expect("a store")
}

/// A new ticket is taken by the first, and known to all others.
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
fn a_store_that_is_cut_short_under_its_users_ends_none_of_them_and_is_made_anew() {
    let site = Site::new("cut-short");
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&[])).collect();
    all_know(&site, &mut drivers, "PT-0-before");
    for (round, length) in [0, 100, 4_096, 8_192, 20_000].into_iter().enumerate() {
        let file = OpenOptions::new().write(true).open(store(&site));
        file.and_then(|file| file.set_len(length)).expect("a store");
        let ticket = format!("PT-{round}-after");
        let answers = all_know(&site, &mut drivers, &ticket);
        let is_lost = is_said(&answers, "sso: all sessions are lost");
        // An empty file is as good as none, and none was ever there.
        assert_eq!(is_lost, length > 0, "{length}: {answers:?}");
    }
    // What CAS has said once it says no more, and nobody takes it for granted.
    let lost = drivers[0].ticket("PT-0-before");
    assert_eq!(lost.reason(), "ticket_refused", "{lost:?}");
}

#[test]
fn a_store_that_is_overwritten_is_made_anew_by_those_who_come_after() {
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
fn where_files_may_not_be_as_long_as_the_store_nobody_is_ended_for_it() {
    let site = Site::new("short-files");
    let limited = ["prlimit", "--fsize=1000000"];
    let mut drivers = [site.driver_under(&limited, &[])];
    let answers = all_know(&site, &mut drivers, "PT-0-limited");
    assert!(is_said(&answers, "raise that limit"), "{answers:?}");
    all_know(&site, &mut drivers, "PT-0-limited");
}
