//! More than the daemon can do: who is turned away knows at once, and nobody else waits.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::Duration;
use test_support::daemon::request;
use test_support::daemon_site::Site;
use test_support::faulty_cas::Behaviour;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::libsasl2::site::PROXY;
use test_support::wait::{PATIENCE, wait_until};

/// The daemon's workers, and those who may wait for one.
const ROOM: usize = 64 + 512;
/// For whom there is no room.
const TOO_MANY: usize = 50;

const FALLBACK: (&str, &str) = ("sasl_sso_fallback_socket", "{scratch}/fallback");

/// Sends so many tickets that nobody knows, each by a connection of its own.
fn send_tickets(site: &Site, number: usize) -> Vec<UnixStream> {
    let send = |number| {
        // A name each, for one name has only its share.
        let (name, ticket) = (format!("user{number}"), format!("PT-{number}-nobody-knows"));
        let mut stream = UnixStream::connect(site.daemon.mux()).expect("a socket");
        let bytes = request(&[&name, &ticket, "imap", ""]);
        stream.write_all(&bytes).expect("a request");
        stream.set_nonblocking(true).expect("a stream");
        stream
    };
    (0..number).map(send).collect()
}

/// The answers that have come by now; an empty one is that nobody could say. Who has one goes.
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

/// What needs no CAS is answered, by imapd too.
fn others_are_answered(site: &Site) {
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(site.ask("alice", "good password").as_deref(), Some("OK"));
    assert!(site.login("alice", "PT-1-known").ok);
    assert!(site.login("alice", "good password").ok);
}

#[test]
fn a_full_queue_says_so_at_once_and_what_is_known_goes_on() {
    // Long enough that nothing of this test is due to it, but for the end.
    let timeout = ("sasl_caspt_timeout", "6");
    let site = Site::new("full", &[FALLBACK, timeout]);
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&site.fallback(), answer);
    site.know("PT-1-known", "alice");
    let before = site.usage();
    site.cas.set(Behaviour::HangAfterRequest);
    let mark = site.mark();
    let mut streams = send_tickets(&site, ROOM + TOO_MANY);
    let mut refused = Vec::new();
    let come = wait_until(Duration::from_secs(5), || {
        refused.extend(answers(&mut streams));
        refused.len() >= TOO_MANY
    });
    assert!(come, "{} of {TOO_MANY}", refused.len());
    others_are_answered(&site);
    // That there is no room is no fault of theirs.
    assert_eq!(refused, vec![""; TOO_MANY]);
    assert!(answers(&mut streams).is_empty());
    site.said(mark, &["outcome=unavailable", "reason=busy"]);
    let is_counted = || site.count(mark, "reason=busy") == TOO_MANY;
    assert!(wait_until(PATIENCE, is_counted));

    // CAS is back, and so is all the room.
    site.cas.set(Behaviour::Tickets);
    site.said(mark, &["reason=server_timeout"]);
    let is_over = || site.usage().descriptors <= before.descriptors;
    drop(streams);
    assert!(wait_until(PATIENCE, is_over), "{:?}", site.usage());
    let mut number = 2;
    let is_back = || {
        number += 1;
        let ticket = format!("PT-{number}-new");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        site.ask("alice", &ticket).is_some_and(|said| said == "OK")
    };
    assert!(wait_until(PATIENCE, is_back), "{}", site.cyrus.log().tail());
    let rest = || site.usage().threads <= before.threads + 1;
    assert!(wait_until(PATIENCE, rest), "{:?}", site.usage());
}

#[test]
fn equal_tickets_are_validated_once_and_take_one_worker() {
    let site = Site::new("equal", &[]);
    for (ticket, user) in [("PT-1-many", "alice"), ("PT-2-other", "bert")] {
        site.cas.arm(ticket, user, &[PROXY]);
    }
    site.cas.set_delay(Duration::from_secs(3));
    let send = |name: &str, ticket: &str| {
        let mut stream = UnixStream::connect(site.daemon.mux()).expect("a socket");
        let bytes = request(&[name, ticket, "imap", ""]);
        stream.write_all(&bytes).expect("a request");
        stream.set_nonblocking(true).expect("a stream");
        stream
    };
    // More than there are workers, and one who says that it is somebody else.
    let mut many: Vec<UnixStream> = (0..200).map(|_| send("alice", "PT-1-many")).collect();
    let mut impostor = vec![send("eve", "PT-1-many")];
    let mut other = vec![send("bert", "PT-2-other")];
    assert!(wait_until(PATIENCE, || site.cas.requests().len() == 2));
    assert!(answers(&mut many).is_empty(), "the first one was answered");
    for (streams, number, answer) in [
        (&mut many, 200, "\0\x02OK"),
        (&mut impostor, 1, "\0\x02NO"),
        (&mut other, 1, "\0\x02OK"),
    ] {
        let mut come = Vec::new();
        let all = wait_until(PATIENCE, || {
            come.extend(answers(streams));
            come.len() == number
        });
        assert!(all, "{come:?}");
        assert_eq!(come, vec![answer; number]);
    }
    assert_eq!(site.cas.requests().len(), 2);

    // And what fails fails for all of them at once.
    site.cas.set(Behaviour::CloseAfterRequest);
    let mark = site.mark();
    let mut failing: Vec<UnixStream> = (0..200).map(|_| send("alice", "PT-3-new")).collect();
    let mut come = Vec::new();
    let all = wait_until(PATIENCE, || {
        come.extend(answers(&mut failing));
        come.len() == 200
    });
    assert!(all && come.iter().all(String::is_empty), "{come:?}");
    site.said(mark, &["outcome=unavailable"]);
}

#[test]
fn a_session_whose_use_is_to_be_noted_does_not_wait_for_who_asks_cas() {
    // Uses more than a second apart are noted.
    let idle = ("sasl_caspt_session_idle", "16");
    let timeout = ("sasl_caspt_timeout", "20");
    let mut site = Site::new("noted", &[idle, timeout]);
    site.know("PT-1-known", "alice");
    site.cas.set(Behaviour::HangAfterRequest);
    let mut streams = send_tickets(&site, ROOM);
    assert!(wait_until(PATIENCE, || site.cas.requests().len() > 60));
    sleep(Duration::from_millis(1_500));
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    // Still: it was not their end that made room.
    assert!(answers(&mut streams).is_empty());
    // It would finish what is under way.
    site.daemon.kill();
}
