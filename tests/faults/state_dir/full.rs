//! No room in the file system of the state directory, which is memory of the machine by default.

use crate::state_dir::mounts::Mounts;
use crate::state_dir::site::{Site, complaints, print_row, source};
use test_support::libsasl2::{Driver, code};

/// More than LMDB has slots on a page of its lock file.
const PROCESSES: usize = 150;

/// In KiB.
const ROOM: usize = 1_024;

/// Logs in by new tickets until the log says what is wrong, and by some more. All go well.
fn log_in_until_told(site: &Site, driver: &mut Driver, tickets: &mut Vec<String>) -> String {
    let mut told = None;
    let mut left = 20;
    while left > 0 {
        assert!(tickets.len() < 500, "the log says nothing");
        let ticket = format!("PT-{}-when-full", tickets.len());
        site.arm(&ticket, "alice");
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        tickets.push(ticket);
        told = told.or(complaints(&answer).pop());
        left -= usize::from(told.is_some());
    }
    told.expect("what is wrong")
}

#[test]
fn on_a_full_disk_logins_go_on_and_no_process_ends() {
    let site = Site::new("full");
    let mounts = Mounts::with_memory(&site, ROOM);
    let start = || site.driver_under(&mounts.enter());
    let known = "PT-1-before";
    site.arm(known, "alice");
    let (mut one, mut other) = (start(), start());
    assert_eq!(one.ticket(known).code(), code::OK);
    assert_eq!(source(&other.ticket(known)), "host");
    mounts.fill(&site.run_dir());

    let mut tickets = Vec::new();
    let told = log_in_until_told(&site, &mut one, &mut tickets);
    assert!(told.contains("make room in its file system"), "{told}");
    // What is known is known, to those who come now as well: each of them writes to memory that
    // it shares with the others.
    assert_eq!(source(&other.ticket(known)), "host");
    let mut late: Vec<Driver> = (0..PROCESSES).map(|_| start()).collect();
    for driver in &mut late {
        let answer = driver.ticket(known);
        assert_eq!(source(&answer), "host", "{answer:?}");
    }
    // And who was taken by one process alone is known to it.
    for ticket in &tickets {
        assert_eq!(one.ticket(ticket).code(), code::OK, "{ticket}");
        assert_eq!(site.asked(ticket), 1, "{ticket}");
    }

    mounts.make_room(&site.run_dir());
    site.arm("PT-2-after", "bob");
    assert_eq!(one.ticket("PT-2-after").code(), code::OK);
    for driver in [&mut other, &mut late[0], &mut start()] {
        assert_eq!(source(&driver.ticket("PT-2-after")), "host");
        assert_eq!(source(&driver.ticket(known)), "host");
    }
    let mut alone = 0;
    for ticket in &tickets {
        assert_eq!(one.ticket(ticket).code(), code::OK, "{ticket}");
        alone += usize::from(other.ticket(ticket).code() != code::OK);
    }
    assert!(alone > 0);
    print_row(
        "disk full while in use",
        tickets.len() + PROCESSES,
        "nothing; the log asks for room",
        &format!("nothing; {alone} sessions that began meanwhile are known to one process"),
    );
}

#[test]
fn a_disk_that_is_full_before_the_first_login_stops_none() {
    let site = Site::new("full-at-first");
    let mounts = Mounts::with_memory(&site, ROOM);
    let start = || site.driver_under(&mounts.enter());
    mounts.fill(&site.run_dir());
    let mut drivers = [start(), start()];
    for (number, driver) in drivers.iter_mut().enumerate() {
        let ticket = format!("PT-{number}-at-first");
        site.arm(&ticket, "alice");
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        let told = complaints(&answer).concat();
        assert!(told.contains("make room in its file system"), "{told}");
        assert_eq!(source(&driver.ticket(&ticket)), "memory");
        assert_eq!(site.asked(&ticket), 1);
    }
    mounts.make_room(&site.run_dir());
    let [one, other] = &mut drivers;
    assert!(site.is_shared(one, other), "{}", site.kit.syslog().tail());
    print_row(
        "disk full before the first login",
        drivers.len(),
        "nothing; the log asks for room",
        "nothing; sessions that began meanwhile end when there is room",
    );
}
