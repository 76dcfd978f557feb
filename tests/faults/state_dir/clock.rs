//! Sets the clock back and forward while processes use cached sessions.

use crate::state_dir::site::{Site, complaints, print_row, source};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_support::libsasl2::token_site::TokenSite;
use test_support::libsasl2::{Answer, Driver, code};
use test_support::mint::now;
use test_support::root_only::can_as_root;
use test_support::scratch::Scratch;
use test_support::syslog::build_preload;

const HOUR: i64 = 3_600;
const YEAR: i64 = 8_766 * HOUR;

/// A wall clock that can be set for the processes that are started under it.
struct WallClock {
    preload: PathBuf,
    file: PathBuf,
    scratch: Scratch,
}

impl WallClock {
    fn new(scratch: &Scratch) -> Self {
        let source = include_str!("clock_preload.c");
        Self {
            preload: build_preload(scratch, Path::new("clock_preload"), source),
            file: scratch.write("clock", "0"),
            scratch: scratch.clone(),
        }
    }

    /// Makes the clock wrong by this many seconds.
    fn set(&self, seconds: i64) {
        // Replaced by a rename, because a process may be reading the file.
        let next = self.scratch.write("clock.next", seconds.to_string());
        std::fs::rename(next, &self.file).expect("setting the clock");
    }

    /// The command prefix under which a program uses this clock.
    fn wrapper(&self) -> Vec<String> {
        let syslog = self.scratch.join("syslog_preload.so");
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}:{}", syslog.display(), self.preload.display()),
            format!("SSO_TEST_CLOCK={}", self.file.display()),
        ]
    }
}

/// Whether the ticket was accepted from the host tier.
fn is_cached(answer: &Answer) -> bool {
    let none: Vec<String> = Vec::new();
    assert_eq!(complaints(answer), none);
    answer.code() == code::OK && source(answer) == "host"
}

#[test]
fn setting_the_clock_neither_ends_nor_prolongs_a_session_of_a_ticket() {
    let mut site = Site::new("clock");
    site.set("caspt_session_ttl", "6");
    let clock = WallClock::new(&site.scratch);
    let mut one = site.driver_under(&clock.wrapper());
    let mut right = site.driver();
    let settings = [YEAR, -YEAR, 10 * YEAR, HOUR, -50 * YEAR, 0];
    for (number, ticket) in ["PT-1-clock", "PT-2-clock"].into_iter().enumerate() {
        site.arm(ticket, "alice");
        assert_eq!(one.ticket(ticket).code(), code::OK);
        let begun = std::time::Instant::now();
        for seconds in settings {
            clock.set(seconds);
            assert!(is_cached(&one.ticket(ticket)), "by {seconds} s");
        }
        // A process with a correct clock finds the session, too.
        assert!(is_cached(&right.ticket(ticket)));
        clock.set([-YEAR, YEAR][number]);
        assert!(is_cached(
            &site.driver_under(&clock.wrapper()).ticket(ticket)
        ));
        // The session ends when its TTL is over, whatever the clocks show.
        std::thread::sleep(Duration::from_secs(6).saturating_sub(begun.elapsed()));
        for seconds in settings {
            clock.set(seconds);
            let answer = one.ticket(ticket);
            assert_eq!(answer.reason(), "ticket_refused", "{seconds}: {answer:?}");
        }
    }
    print_row(
        "wall clock set by up to 50 years, sessions of tickets",
        2 * (2 * settings.len() + 1),
        "nothing",
        "nothing; each session ended at its time",
    );
}

#[test]
fn session_is_invalid_by_the_clock_of_another_boot() {
    // This needs a time namespace, which only root can create.
    if !can_as_root() {
        return;
    }
    let site = Site::new("boot-clock");
    let later = |seconds: i64| {
        let words = ["unshare", "--time", "--boottime", &seconds.to_string()];
        site.driver_under(&words.map(str::to_owned))
    };
    let ticket = "PT-1-boot-clock";
    site.arm(ticket, "alice");
    let mut one = site.driver();
    assert_eq!(one.ticket(ticket).code(), code::OK);
    // The session would be idle for an hour, or created in the future, so CAS is asked.
    for seconds in [3_700, -60] {
        let answer = later(seconds).ticket(ticket);
        assert_eq!(answer.reason(), "ticket_refused", "{seconds}: {answer:?}");
    }
    // For processes with the right clock the session is still valid.
    assert!(is_cached(&one.ticket(ticket)) && is_cached(&site.driver().ticket(ticket)));
}

/// Logs in with a token; returns "accepted" or the reason.
fn outcome(driver: &mut Driver, token: &str) -> String {
    let answer = driver.token(token);
    match answer.code() {
        code::OK => "accepted".to_owned(),
        _ => answer.reason(),
    }
}

#[test]
fn token_and_its_session_are_valid_by_the_current_clock_only() {
    let site = TokenSite::new("token-clock");
    let clock = WallClock::new(&site.scratch);
    let words = clock.wrapper();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let keys = site.pem_file(&[&site.key]);
    let options = [("jwt_keys", keys.as_str())];
    let start = || site.driver_under(&words, &options);
    let mut one = start();
    let token = site.token(json!({ "exp": now() + 600 }));
    let other = site.token(json!({ "exp": now() + 600, "jti": "never seen before" }));
    assert_eq!(outcome(&mut one, &token), "accepted");
    // All settings exceed the leeway, which does not apply to sessions.
    let settings = [
        (590, "accepted"),
        (700, "token_expired"),
        (YEAR, "token_expired"),
        (0, "accepted"),
        (50 * YEAR, "token_expired"),
        (500, "accepted"),
    ];
    for (seconds, expected) in settings {
        clock.set(seconds);
        // A new process and an old one must agree.
        assert_eq!(outcome(&mut start(), &token), expected, "by {seconds} s");
        assert_eq!(outcome(&mut one, &token), expected, "by {seconds} s");
    }
    clock.set(-HOUR);
    assert_eq!(outcome(&mut one, &other), "token_from_the_future");
    clock.set(0);
    assert_eq!(outcome(&mut start(), &other), "accepted");
    print_row(
        "wall clock set by up to 50 years, tokens",
        2 * settings.len(),
        "tokens are refused while the clock is beyond their exp or before their iat",
        "nothing",
    );
}
