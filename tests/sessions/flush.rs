//! Tests that a flush ends sessions at the next login, in every process, even during a validation.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use test_support::imap::Imap;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::token_site::{TokenSite, oauthbearer};
use test_support::libsasl2::{Driver, caspt, code, sasl_sso};
use test_support::wait::{PATIENCE, wait_until};

const ROUNDS: usize = 100;
const PROCESSES: usize = 4;

/// Flushes sessions, and returns the output.
fn flush(conf: &Path, whose: &[&str]) -> String {
    let conf = conf.display().to_string();
    let arguments = [&["sessions", "flush", "--config", &conf], whose].concat();
    let (status, said, complaint) = sasl_sso(&arguments);
    assert_eq!(status, Some(0), "{complaint}");
    said
}

/// The listed sessions.
fn list(conf: &Path, other: &[&str]) -> Vec<Value> {
    let conf = conf.display().to_string();
    let arguments = [&["sessions", "list", "--json", "--config", &conf], other].concat();
    let (status, said, complaint) = sasl_sso(&arguments);
    assert_eq!(status, Some(0), "{complaint}");
    serde_json::from_str(&said).expect("an array")
}

/// Logs in without a pause. During the flush a login may be accepted or not. The first login that
/// begins after the flush ends the round.
fn hammer(driver: &mut Driver, ticket: &str, taken: &AtomicUsize, is_flushed: &AtomicBool) {
    loop {
        let was_flushed = is_flushed.load(Ordering::SeqCst);
        let answer = driver.ticket(ticket);
        if was_flushed {
            assert_eq!(answer.reason(), "ticket_refused", "{answer:?}");
            return;
        }
        if answer.code() == code::OK {
            taken.fetch_add(1, Ordering::SeqCst);
        } else {
            assert_eq!(answer.reason(), "ticket_refused", "{answer:?}");
        }
    }
}

#[test]
fn flushed_ticket_is_refused_at_the_next_login_of_every_process() {
    let site = Site::new("flushed");
    let conf = site.imapd_conf();
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&[])).collect();
    for round in 0..ROUNDS {
        let ticket = &format!("PT-{round}-flushed");
        site.cas.arm(ticket, "alice", &[PROXY]);
        assert_eq!(drivers[0].ticket(ticket).code(), code::OK);
        let (taken, is_flushed) = (&AtomicUsize::new(0), &AtomicBool::new(false));
        std::thread::scope(|scope| {
            for driver in &mut drivers {
                scope.spawn(move || hammer(driver, ticket, taken, is_flushed));
            }
            let is_hammered = || taken.load(Ordering::SeqCst) > 5 * PROCESSES;
            assert!(wait_until(PATIENCE, is_hammered));
            let said = flush(&conf, &["--user", "alice"]);
            is_flushed.store(true, Ordering::SeqCst);
            assert!(said.starts_with("flushed 1 session of tickets"), "{said}");
        });
    }
    // CAS accepted each ticket once, and was asked about it once more.
    assert_eq!(site.cas.requests().len(), 2 * ROUNDS);
}

#[test]
fn logins_in_progress_open_no_session_after_a_flush() {
    let site = Site::new("under-way");
    let conf = site.imapd_conf();
    let options = [("caspt_timeout", "5")];
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&options)).collect();
    // The cache exists.
    site.cas.arm("PT-0-before", "bob", &[PROXY]);
    assert_eq!(drivers[0].ticket("PT-0-before").code(), code::OK);
    site.cas.set_delay(Duration::from_millis(500));
    for (number, whose) in [&["--user", "alice"][..], &["--all"]]
        .into_iter()
        .enumerate()
    {
        let ticket = format!("PT-{number}-under-way");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        let command = caspt(format!("\0\0{ticket}").as_bytes());
        let before = site.cas.requests().len();
        drivers[0].tell(&command);
        assert!(wait_until(PATIENCE, || site.cas.requests().len() > before));
        for driver in &mut drivers[1..] {
            driver.tell(&command);
        }
        flush(&conf, whose);
        // The login had begun before: CAS accepted it once.
        assert_eq!(drivers[0].answer().code(), code::OK);
        for driver in &mut drivers[1..] {
            let answer = driver.answer();
            assert_eq!(answer.reason(), "ticket_refused", "{answer:?}");
        }
        assert_eq!(drivers[0].ticket(&ticket).reason(), "ticket_refused");
        assert_eq!(site.cas.requests().len(), before + 2);
    }
}

#[test]
fn flushed_token_is_verified_again_and_listed_without_claims() {
    let site = TokenSite::new("flushed-token");
    let conf = site.imapd_conf();
    let mut driver = site.driver(&[]);
    let token = site.token(serde_json::json!({}));
    let mut source = || {
        let answer = driver.log_in("OAUTHBEARER", &oauthbearer(&token));
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        (answer.field("source"), answer.field("digest"))
    };
    source();
    let (known, digest) = source();
    assert_eq!(known.as_deref(), Some("host"));
    let digest = digest.expect("a digest");
    let listed = list(&conf, &["--user", "alice"]);
    assert_eq!(listed[0]["digest"], digest.as_str());
    assert_eq!(listed[0]["mechanism"], "OAUTHBEARER");
    assert!(listed[0]["seconds_left"].as_u64().expect("an end") > 0);
    assert!(list(&conf, &["--user", "bob"]).is_empty());
    let said = flush(&conf, &["--digest", &digest[..6]]);
    assert!(
        said.contains("0 sessions of tickets and 1 of tokens"),
        "{said}"
    );
    assert!(said.contains("taken as long as they are valid"), "{said}");
    assert!(list(&conf, &[]).is_empty());
    assert_eq!(source().0.as_deref(), Some("validated"));
    let parts: Vec<&str> = token.split('.').collect();
    let shown = format!("{listed:?}");
    assert!(parts.iter().all(|part| !shown.contains(part)), "{shown}");
}

#[test]
fn sessions_of_imapd_and_the_daemon_are_listed_and_flushed() {
    let site = test_support::daemon_site::DaemonEnv::new("flushed-imapd", &[]);
    let (ours, daemons) = ("PT-1-by-caspt", "PT-2-by-the-daemon");
    for ticket in [ours, daemons] {
        site.cas.arm(ticket, "alice", &[PROXY]);
    }
    let log_in = || {
        let mut imap = Imap::connect(site.cyrus.imap_port());
        let first = format!("\0\0{ours}");
        let by_caspt = imap.authenticate("CASPT", first.as_bytes(), &[b"\x01"]);
        [by_caspt.ok, site.login("alice", daemons).ok]
    };
    assert_eq!(log_in(), [true; 2], "{}", site.cyrus.log().tail());
    assert_eq!(log_in(), [true; 2], "{}", site.cyrus.log().tail());

    let conf = site.cyrus.imapd_conf();
    let listed = list(&conf, &[]);
    let of =
        |field: &str| -> Vec<&str> { listed.iter().filter_map(|l| l[field].as_str()).collect() };
    assert_eq!(of("user"), ["alice"; 2]);
    assert_eq!(of("service"), ["imap://localhost"; 2]);
    let mut mechanisms = of("mechanism");
    mechanisms.sort_unstable();
    assert_eq!(mechanisms, ["CASPT", "saslauthd"]);
    let shown = format!("{listed:?}");
    assert!(!shown.contains(ours) && !shown.contains(daemons));

    let said = flush(&conf, &["--user", "alice"]);
    assert!(said.starts_with("flushed 2 sessions of tickets"), "{said}");
    assert_eq!(log_in(), [false; 2], "{}", site.cyrus.log().tail());
    assert!(list(&conf, &[]).is_empty());
    // The files belong to the mail server's user, whoever ran the command.
    let owner = std::fs::metadata(site.cyrus.state_dir())
        .expect("the directory")
        .uid();
    for entry in std::fs::read_dir(site.cyrus.state_dir()).expect("the directory") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        assert_eq!(
            (metadata.uid(), metadata.mode() & 0o077),
            (owner, 0),
            "{entry:?}"
        );
    }
}
