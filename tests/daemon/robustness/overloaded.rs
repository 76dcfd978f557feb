//! More requests than the daemon can validate: it turns away the excess at once, and delays no
//! other client.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;
use test_support::daemon::request;
use test_support::daemon_site::DaemonEnv;
use test_support::faulty_cas::Behaviour;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::libsasl2::site::PROXY;
use test_support::wait::{PATIENCE, wait_until};

/// The daemon's workers, and the requests that may wait for one.
const CAPACITY: usize = 64 + 512;
/// Requests beyond that.
const EXCESS: usize = 50;

const FALLBACK: (&str, &str) = ("sasl_sso_fallback_socket", "{scratch}/fallback");

/// Sends this many unknown tickets, each over a connection of its own.
fn send_tickets(env: &DaemonEnv, number: usize) -> Vec<UnixStream> {
    let send = |number| {
        // Each request has another user name, because a single name is limited to its share.
        let (name, ticket) = (format!("user{number}"), format!("PT-{number}-nobody-knows"));
        let mut stream = UnixStream::connect(env.daemon.mux()).expect("a socket");
        let bytes = request(&[&name, &ticket, "imap", ""]);
        stream.write_all(&bytes).expect("a request");
        stream.set_nonblocking(true).expect("a stream");
        stream
    };
    (0..number).map(send).collect()
}

/// The answers so far; an empty one stands for an outage. Answered connections are removed from
/// `streams`.
fn answers(streams: &mut Vec<UnixStream>) -> Vec<String> {
    let mut answers = Vec::new();
    streams.retain_mut(|stream| {
        let mut answer = [0; 64];
        let read = stream.read(&mut answer);
        answers.extend(read.iter().map(|length| {
            let answer = &answer[..*length];
            String::from_utf8_lossy(answer).into_owned()
        }));
        read.is_err()
    });
    answers
}

/// Checks that logins that do not need CAS are answered, also through imapd.
fn others_are_answered(env: &DaemonEnv) {
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(env.ask("alice", "good password").as_deref(), Some("OK"));
    assert!(env.login("alice", "PT-1-known").ok);
    assert!(env.login("alice", "good password").ok);
}

#[test]
fn full_queue_is_an_outage_at_once_and_cached_tickets_are_accepted() {
    // The time-out is long, so that nothing but the last part of the test depends on it.
    let timeout = ("sasl_caspt_timeout", "6");
    let env = DaemonEnv::new("full", &[FALLBACK, timeout]);
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&env.fallback(), answer);
    env.cache_ticket("PT-1-known", "alice");
    let before = env.usage();
    env.cas.set(Behaviour::HangAfterRequest);
    let mark = env.mark();
    let mut streams = send_tickets(&env, CAPACITY + EXCESS);
    let mut refused = Vec::new();
    let received = wait_until(Duration::from_secs(5), || {
        refused.extend(answers(&mut streams));
        refused.len() >= EXCESS
    });
    assert!(received, "{} of {EXCESS}", refused.len());
    others_are_answered(&env);
    // A full queue is an outage, not a refusal.
    assert_eq!(refused, vec![""; EXCESS]);
    assert!(answers(&mut streams).is_empty());
    env.wait_for_log(mark, &["outcome=unavailable", "reason=busy"]);
    let is_counted = || env.count(mark, "reason=busy") == EXCESS;
    assert!(wait_until(PATIENCE, is_counted));

    // CAS answers again, and the queue drains.
    env.cas.set(Behaviour::Tickets);
    env.wait_for_log(mark, &["reason=server_timeout"]);
    let is_drained = || env.usage().descriptors <= before.descriptors;
    drop(streams);
    assert!(wait_until(PATIENCE, is_drained), "{:?}", env.usage());
    let mut number = 2;
    let is_back = || {
        number += 1;
        let ticket = format!("PT-{number}-new");
        env.cas.arm(&ticket, "alice", &[PROXY]);
        env.ask("alice", &ticket).is_some_and(|said| said == "OK")
    };
    assert!(wait_until(PATIENCE, is_back), "{}", env.cyrus.log().tail());
    let is_idle = || env.usage().threads <= before.threads + 1;
    assert!(wait_until(PATIENCE, is_idle), "{:?}", env.usage());
}

#[test]
fn equal_tickets_are_validated_once_by_one_worker() {
    let env = DaemonEnv::new("equal", &[]);
    for (ticket, user) in [("PT-1-many", "alice"), ("PT-2-other", "bert")] {
        env.cas.arm(ticket, user, &[PROXY]);
    }
    env.cas.set_delay(Duration::from_secs(3));
    let send = |name: &str, ticket: &str| {
        let mut stream = UnixStream::connect(env.daemon.mux()).expect("a socket");
        let bytes = request(&[name, ticket, "imap", ""]);
        stream.write_all(&bytes).expect("a request");
        stream.set_nonblocking(true).expect("a stream");
        stream
    };
    // There are more requests than workers, and one of them has another user name.
    let mut many: Vec<UnixStream> = (0..200).map(|_| send("alice", "PT-1-many")).collect();
    let mut impostor = vec![send("eve", "PT-1-many")];
    let mut other = vec![send("bert", "PT-2-other")];
    assert!(wait_until(PATIENCE, || env.cas.requests().len() == 2));
    assert!(
        answers(&mut many).is_empty(),
        "a request was answered before CAS was"
    );
    for (streams, number, answer) in [
        (&mut many, 200, "\0\x02OK"),
        (&mut impostor, 1, "\0\x02NO"),
        (&mut other, 1, "\0\x02OK"),
    ] {
        let mut received = Vec::new();
        let all = wait_until(PATIENCE, || {
            received.extend(answers(streams));
            received.len() == number
        });
        assert!(all, "{received:?}");
        assert_eq!(received, vec![answer; number]);
    }
    assert_eq!(env.cas.requests().len(), 2);

    // A failed validation fails all requests that share it.
    env.cas.set(Behaviour::CloseAfterRequest);
    let mark = env.mark();
    let mut failing: Vec<UnixStream> = (0..200).map(|_| send("alice", "PT-3-new")).collect();
    let mut received = Vec::new();
    let all = wait_until(PATIENCE, || {
        received.extend(answers(&mut failing));
        received.len() == 200
    });
    assert!(all && received.iter().all(String::is_empty), "{received:?}");
    env.wait_for_log(mark, &["outcome=unavailable"]);
}

#[test]
fn cached_session_is_used_while_all_workers_wait_for_cas() {
    // With this idle time-out, uses more than a second apart are written to the cache.
    let idle = ("sasl_caspt_session_idle", "16");
    let timeout = ("sasl_caspt_timeout", "20");
    let mut env = DaemonEnv::new("noted", &[idle, timeout]);
    env.cache_ticket("PT-1-known", "alice");
    env.cas.set(Behaviour::HangAfterRequest);
    let mut streams = send_tickets(&env, CAPACITY);
    assert!(wait_until(PATIENCE, || env.cas.requests().len() > 60));
    sleep(Duration::from_millis(1_500));
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    // No worker has become free in the meantime.
    assert!(answers(&mut streams).is_empty());
    // Killed, because a clean end would wait for the requests in progress.
    env.daemon.kill();
}
