//! Tests that a credential is validated once, however many processes present it at the same time,
//! and whatever happens to the process that validates it.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{Driver, caspt, code};
use test_support::wait::{PATIENCE, wait_until};

const TOGETHER: usize = 8;

fn tell_all(drivers: &mut [Driver], ticket: &str) {
    let command = caspt(format!("\0\0{ticket}").as_bytes());
    for driver in drivers {
        driver.tell(&command);
    }
}

#[test]
fn eight_concurrent_first_logins_cause_one_request_to_cas() {
    let site = Site::new("flight");
    site.cas.set_delay(Duration::from_millis(50));
    let options = [("caspt_timeout", "5")];
    let mut drivers: Vec<Driver> = (0..TOGETHER).map(|_| site.driver(&options)).collect();
    let mut successes = 0;
    for round in 0..20 {
        let ticket = format!("PT-{round}-together");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        tell_all(&mut drivers, &ticket);
        for driver in &mut drivers {
            successes += usize::from(driver.answer().code() == code::OK);
        }
    }
    assert_eq!(successes, 160);
    assert_eq!(site.cas.requests().len(), 20);
}

#[test]
fn concurrent_writers_lose_no_session() {
    let site = Site::new("writers");
    let mut drivers: Vec<Driver> = (0..TOGETHER).map(|_| site.driver(&[])).collect();
    let ticket = |process: usize, number: usize| format!("PT-{process}-{number}-writer");
    for number in 0..40 {
        for (process, driver) in drivers.iter_mut().enumerate() {
            let ticket = ticket(process, number);
            site.cas.arm(&ticket, "alice", &[PROXY]);
            driver.tell(&caspt(format!("\0\0{ticket}").as_bytes()));
        }
    }
    for _ in 0..40 {
        for driver in &mut drivers {
            assert_eq!(driver.answer().code(), code::OK);
        }
    }
    let mut reader = site.driver(&[]);
    for number in 0..40 {
        for process in 0..TOGETHER {
            let answer = reader.ticket(&ticket(process, number));
            assert_eq!(
                answer.field("source").as_deref(),
                Some("host"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(site.cas.requests().len(), 40 * TOGETHER);
}

#[test]
fn many_processes_can_start_at_once() {
    let site = Site::new("stampede");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-1-alice").code(), code::OK);
    let mut drivers: Vec<Driver> = (0..200).map(|_| site.driver(&[])).collect();
    tell_all(&mut drivers, "PT-1-alice");
    for driver in &mut drivers {
        let answer = driver.answer();
        assert_eq!(
            answer.field("source").as_deref(),
            Some("host"),
            "{answer:?}"
        );
    }
    // There is no cache yet: one process creates it, and the others find it.
    std::fs::remove_dir_all(site.scratch.join("state")).expect("the state directory");
    site.cas.arm("PT-2-bob", "bob", &[PROXY]);
    let mut drivers: Vec<Driver> = (0..50).map(|_| site.driver(&[])).collect();
    tell_all(&mut drivers, "PT-2-bob");
    for driver in &mut drivers {
        assert_eq!(driver.answer().authid(), "bob");
    }
    assert_eq!(site.cas.requests().len(), 2);
}

#[test]
fn refusal_is_shared_like_a_success() {
    let site = Site::new("refused");
    site.cas.set_delay(Duration::from_millis(50));
    let mut drivers: Vec<Driver> = (0..TOGETHER).map(|_| site.driver(&[])).collect();
    tell_all(&mut drivers, "PT-1-unknown");
    for driver in &mut drivers {
        assert_eq!(driver.answer().reason(), "ticket_refused");
    }
    assert_eq!(site.cas.requests().len(), 1);
}

#[test]
fn waiters_end_in_time_if_the_validating_process_is_killed() {
    for round in 0..5 {
        let site = Site::new("killed");
        site.cas.set_delay(Duration::from_millis(400));
        let options = [("caspt_timeout", "3")];
        let mut drivers: Vec<Driver> = (0..TOGETHER).map(|_| site.driver(&options)).collect();
        let ticket = format!("PT-{round}-killed");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        // The first process holds the lock before the others start.
        tell_all(&mut drivers[..1], &ticket);
        assert!(wait_until(PATIENCE, || site.cas.requests().len() == 1));
        let start = Instant::now();
        tell_all(&mut drivers[1..], &ticket);
        let holder = drivers.remove(0);
        let pid = i32::try_from(holder.pid()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killing the holder");
        for driver in &mut drivers {
            let answer = driver.answer();
            // The ticket is used up: another process asked again, and CAS refused it.
            assert_eq!(answer.reason(), "ticket_refused", "{answer:?}");
        }
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(site.cas.requests().len(), 2);
    }
}

#[test]
fn waiters_wait_no_longer_than_the_timeout() {
    let site = Site::new("stopped");
    site.cas
        .set(test_support::faulty_cas::Behaviour::HangAfterRequest);
    let mut patient = site.driver(&[("caspt_timeout", "8")]);
    patient.tell(&caspt(b"\0\0PT-1-stopped"));
    assert!(wait_until(PATIENCE, || site.cas.requests().len() == 1));
    // The process is stopped during the request, with the lock held.
    let pid = Pid::from_raw(i32::try_from(patient.pid()).expect("a process id"));
    kill(pid, Signal::SIGSTOP).expect("stopping the holder");
    let start = Instant::now();
    let answer = site
        .driver(&[("caspt_timeout", "1")])
        .ticket("PT-1-stopped");
    assert_eq!(
        (answer.code(), answer.reason().as_str()),
        (code::UNAVAIL, "server_timeout")
    );
    // The other process has a time-out of eight seconds.
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // Other tickets are not delayed.
    site.cas.set(test_support::faulty_cas::Behaviour::Tickets);
    site.cas.arm("PT-2-other", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-2-other").code(), code::OK);
    kill(pid, Signal::SIGKILL).expect("killing the holder");
}
