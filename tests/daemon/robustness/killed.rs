//! Kills the daemon and starts it again: sessions survive, and the only failures of imapd are
//! outages while the daemon is down.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use test_support::daemon_site::DaemonEnv;
use test_support::imap::Imap;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};

/// A login attempt and its outcome.
struct Login {
    start: Instant,
    end: Instant,
    ok: bool,
    status: String,
}

/// Stops the clients when it is dropped, also when the test panics.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Logs in repeatedly until `stopped` is set.
fn keep_logging_in(
    port: u16,
    (user, ticket): &(String, String),
    logins: &Mutex<Vec<Login>>,
    stopped: &AtomicBool,
) {
    while !stopped.load(Ordering::Relaxed) {
        let start = Instant::now();
        let reply = Imap::connect(port).login(user, ticket);
        let login = Login {
            start,
            end: Instant::now(),
            ok: reply.ok,
            status: reply.status_line,
        };
        logins.lock().expect("the list").push(login);
    }
}

#[test]
fn daemon_killed_under_load_loses_no_session_and_ends_no_imapd() {
    let mut env = DaemonEnv::new("killed", &[]);
    let users: Vec<(String, String)> = (0..6)
        .map(|number| (format!("user{number}"), format!("PT-{number}-known")))
        .collect();
    for (user, ticket) in &users {
        env.cache_ticket(ticket, user);
    }
    let port = env.cyrus.imap_port();
    let mut inbox = Imap::connect(port);
    assert!(inbox.login("user0", "PT-0-known").ok);
    assert!(inbox.command("SELECT INBOX").ok);

    let (logins, stopped) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let wait_for_more = |ok: bool, number: usize| {
        let count = || {
            let logins = logins.lock().expect("the list");
            logins
                .iter()
                .filter(|login: &&Login| login.ok == ok)
                .count()
        };
        let before = count();
        let is_reached = wait_until(PATIENCE, || count() >= before + number);
        assert!(is_reached, "no {number} logins whose success is {ok}");
    };
    let (killed, back, children, mark) = std::thread::scope(|scope| {
        let _stop = Stop(&stopped);
        for user in &users {
            scope.spawn(|| keep_logging_in(port, user, &logins, &stopped));
        }
        wait_for_more(true, 100);
        let (children, mark) = (env.cyrus.children(), env.mark());
        let killed = Instant::now();
        env.daemon.kill();
        wait_for_more(false, 20);
        assert!(inbox.command("NOOP").ok);
        env.start_again();
        let back = Instant::now();
        wait_for_more(true, 100);
        (killed, back, children, mark)
    });

    for login in logins.into_inner().expect("the list") {
        let daemon_was_up = login.end < killed || login.start > back;
        assert!(login.ok || !daemon_was_up, "{}", login.status);
        // The failure must not claim that the ticket is wrong, or the client would discard it.
        let is_outage = login.status == "NO Login failed: generic failure";
        assert!(login.ok || is_outage, "{}", login.status);
    }
    assert!(inbox.command("SELECT INBOX").ok && inbox.logout().ok);
    assert_eq!(env.cas.requests().len(), users.len());
    let now = env.cyrus.children();
    let all_alive = children.iter().all(|pid| now.contains(pid));
    assert!(all_alive, "{children:?} {now:?}");
    // Expected lines of libsasl2, and of imapd, about the missing daemon.
    let expected = [
        "SASL cannot connect to saslauthd server",
        "SASL write failed",
        "SASL size read failed",
        "generic failure",
    ];
    for line in env.cyrus.log().since(mark) {
        let is_expected = expected.iter().any(|text| line.text.contains(text));
        assert!(line.level > level::WARNING || is_expected, "{line:?}");
    }
}
