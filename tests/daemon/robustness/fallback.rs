//! Failures of the fallback: the client gets an outage, the log names the remedy, and logins that
//! do not need the fallback are unaffected.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};
use test_support::daemon::request;
use test_support::daemon_site::Site;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::scratch::set_mode;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};
use tokio::net::UnixSocket;

/// Longer than the daemon waits for an answer of the fallback.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

fn site(name: &str) -> Site {
    let socket = ("sasl_sso_fallback_socket", "{scratch}/fallback");
    let site = Site::new(name, &[socket]);
    site.know("PT-1-known", "alice");
    site
}

/// Checks that the daemon closes the connection without an answer, that imapd reports a failure
/// other than a wrong password, and that the log contains `what`.
fn assert_outage(site: &Site, what: &str) {
    let mark = site.mark();
    assert_eq!(site.ask("alice", "ordinary s3cr3t"), None, "{what}");
    let words = ["outcome=unavailable", "reason=fallback_unusable", what];
    let line = site.said(mark, &words);
    assert_eq!(line.level, level::ERR);
    assert!(line.text.contains("/fallback: "), "{}", line.text);
    let reply = site.login("alice", "ordinary s3cr3t");
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert!(!site.cyrus.log().contains("s3cr3t"));
}

#[test]
fn missing_fallback_is_an_outage() {
    let site = site("absent");
    assert_outage(&site, "No such file");
    assert_outage(&site, "look whether saslauthd runs there");
    let listener = UnixListener::bind(site.fallback()).expect("a socket");
    set_mode(&site.fallback(), 0);
    assert_outage(&site, "have us in the group that may use it");
    set_mode(&site.fallback(), 0o666);
    drop(listener);
    assert_outage(&site, "Connection refused");
    std::fs::remove_file(site.fallback()).expect("the socket");
    // The daemon does not remember the failure.
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&site.fallback(), answer);
    assert_eq!(site.ask("alice", "ordinary").as_deref(), Some("OK"));
}

#[test]
fn malformed_answer_of_the_fallback_is_an_outage() {
    let site = site("nonsense");
    let saslauthd = FaultySaslauthd::start(&site.fallback(), Answer::Never);
    let truncated = "it ended without a whole answer";
    let nonsense = "what it answers is no answer of saslauthd's";
    for (bytes, what) in [
        (&b""[..], truncated),
        (b"\0", truncated),
        (b"\0\x02O", truncated),
        (b"\0\x09NO it", truncated),
        (b"\0\0", nonsense),
        (b"\0\x01O", nonsense),
        (b"\0\x05MAYBE", nonsense),
        (b"\0\x02OK and more", nonsense),
        (b"HTTP/1.1 200 OK\r\n\r\n", nonsense),
        (b"\xff\xff", truncated),
        (&[&b"\xff\xffNO"[..], &[b'x'; 5_000]].concat(), nonsense),
    ] {
        saslauthd.set(Answer::Bytes(bytes.to_vec()));
        assert_outage(&site, what);
    }
    // A valid answer is passed on unchanged, in one piece or byte by byte.
    for answer in ["OK", "NO", "OK welcome", "NO account expired"] {
        let length = u8::try_from(answer.len()).expect("a short answer");
        let bytes = [&[0, length], answer.as_bytes()].concat();
        for behaviour in [Answer::Bytes(bytes.clone()), Answer::Drip(bytes)] {
            saslauthd.set(behaviour);
            assert_eq!(site.ask("alice", "ordinary").as_deref(), Some(answer));
            let reply = site.login("alice", "ordinary");
            assert_eq!(reply.ok, answer.starts_with("OK"), "{reply:?}");
        }
    }
}

/// Sends an ordinary password and does not wait for the answer.
fn send(site: &Site) -> UnixStream {
    let mut stream = UnixStream::connect(site.daemon.mux()).expect("a socket");
    let bytes = request(&["alice", "ordinary s3cr3t", "imap", ""]);
    stream.write_all(&bytes).expect("a request");
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .expect("a time-out");
    stream
}

fn answer(mut stream: UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an end");
    answer
}

#[test]
fn hanging_fallback_delays_only_the_logins_that_need_it() {
    let site = site("hangs");
    let saslauthd = FaultySaslauthd::start(&site.fallback(), Answer::Never);
    // There are more requests than workers: waiting for the fallback occupies none.
    let waiting: Vec<UnixStream> = (0..100).map(|_| send(&site)).collect();
    assert!(wait_until(PATIENCE, || saslauthd.connections() == 100));
    site.know("PT-2-new", "alice");
    assert!(site.login("alice", "PT-1-known").ok);
    // A slow answer does not delay a quick one.
    saslauthd.set(Answer::Bytes(b"\0\x02OK".to_vec()));
    assert_eq!(site.ask("alice", "ordinary").as_deref(), Some("OK"));
    assert_eq!(waiting.len(), 100);
    drop(saslauthd);
    for stream in waiting {
        assert_eq!(answer(stream), b"");
    }
}

#[test]
fn fallback_with_a_full_queue_is_waited_for() {
    let site = site("backlog");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    // A queue of one connection, to which Linux adds one.
    let listener = runtime.block_on(async {
        let socket = UnixSocket::new_stream().expect("a socket");
        socket.bind(site.fallback()).expect("a path");
        socket.listen(1).expect("a queue").into_std()
    });
    let listener = listener.expect("a listener");
    listener.set_nonblocking(false).expect("a listener");
    set_mode(&site.fallback(), 0o666);
    let filling: Vec<UnixStream> = (0..2)
        .map(|_| UnixStream::connect(site.fallback()).expect("room"))
        .collect();
    let mark = site.mark();
    let waiting = send(&site);
    sleep(Duration::from_millis(300));
    assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(site.count(mark, "fallback_unusable"), 0);
    for _ in filling {
        drop(listener.accept().expect("a queued connection"));
    }
    let (mut connection, _) = listener.accept().expect("the daemon");
    let mut request = [0; 64];
    assert!(connection.read(&mut request).expect("a request") > 20);
    connection.write_all(b"\0\x02OK").expect("an answer");
    connection.shutdown(Shutdown::Both).expect("an end");
    assert_eq!(answer(waiting), b"\0\x02OK");
}

#[test]
#[ignore = "of a minute: make soak"]
fn fallback_that_never_answers_is_an_outage_within_a_minute() {
    let site = site("forever");
    let saslauthd = FaultySaslauthd::start(&site.fallback(), Answer::Never);
    let mark = site.mark();
    let begin = Instant::now();
    assert_eq!(answer(send(&site)), b"");
    assert!(begin.elapsed() >= Duration::from_secs(55));
    site.said(
        mark,
        &["reason=fallback_unusable", "no answer within 55 seconds"],
    );
    assert_eq!(saslauthd.connections(), 1);
}
