//! A full file system under the state directory, which by default is a tmpfs.

use crate::state_dir::mounts::Mounts;
use crate::state_dir::site::{Site, complaints, print_row, source};
use test_support::libsasl2::{Driver, code};

/// More processes than LMDB has slots on a page of its lock file.
const PROCESSES: usize = 150;

/// Size of the file system in KiB.
const SIZE_KIB: usize = 1_024;

/// Logs in with new tickets until the log names the fault, and 20 times more. All logins must
/// succeed.
fn log_in_until_fault_is_logged(
    site: &Site,
    driver: &mut Driver,
    tickets: &mut Vec<String>,
) -> String {
    let mut log_line = None;
    let mut left = 20;
    while left > 0 {
        assert!(tickets.len() < 500, "the log does not name the fault");
        let ticket = format!("PT-{}-when-full", tickets.len());
        site.arm(&ticket, "alice");
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        tickets.push(ticket);
        log_line = log_line.or(complaints(&answer).pop());
        left -= usize::from(log_line.is_some());
    }
    log_line.expect("a line in the log")
}

#[test]
fn logins_succeed_on_a_full_disk_and_no_process_ends() {
    let site = Site::new("full");
    let mounts = Mounts::with_memory(&site, SIZE_KIB);
    let start = || site.driver_under(&mounts.enter());
    let cached = "PT-1-before";
    site.arm(cached, "alice");
    let (mut one, mut other) = (start(), start());
    assert_eq!(one.ticket(cached).code(), code::OK);
    assert_eq!(source(&other.ticket(cached)), "host");
    mounts.fill(&site.run_dir());

    let mut tickets = Vec::new();
    let log_line = log_in_until_fault_is_logged(&site, &mut one, &mut tickets);
    assert!(
        log_line.contains("make room in its file system"),
        "{log_line}"
    );
    // Cached tickets are still accepted, also by new processes, each of which writes to memory that
    // it shares with the others.
    assert_eq!(source(&other.ticket(cached)), "host");
    let mut new_drivers: Vec<Driver> = (0..PROCESSES).map(|_| start()).collect();
    for driver in &mut new_drivers {
        let answer = driver.ticket(cached);
        assert_eq!(source(&answer), "host", "{answer:?}");
    }
    // Tickets that only one process has cached are accepted by that process.
    for ticket in &tickets {
        assert_eq!(one.ticket(ticket).code(), code::OK, "{ticket}");
        assert_eq!(site.asked(ticket), 1, "{ticket}");
    }

    mounts.make_room(&site.run_dir());
    site.arm("PT-2-after", "bob");
    assert_eq!(one.ticket("PT-2-after").code(), code::OK);
    for driver in [&mut other, &mut new_drivers[0], &mut start()] {
        assert_eq!(source(&driver.ticket("PT-2-after")), "host");
        assert_eq!(source(&driver.ticket(cached)), "host");
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
fn logins_succeed_when_the_disk_is_full_before_the_first_login() {
    let site = Site::new("full-at-first");
    let mounts = Mounts::with_memory(&site, SIZE_KIB);
    let start = || site.driver_under(&mounts.enter());
    mounts.fill(&site.run_dir());
    let mut drivers = [start(), start()];
    for (number, driver) in drivers.iter_mut().enumerate() {
        let ticket = format!("PT-{number}-at-first");
        site.arm(&ticket, "alice");
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        let log_line = complaints(&answer).concat();
        assert!(
            log_line.contains("make room in its file system"),
            "{log_line}"
        );
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
