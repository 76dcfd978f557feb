//! Failures of the fallback: the client gets an outage, the log names the remedy, and logins that
//! do not need the fallback are unaffected.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::sleep;
use std::time::{Duration, Instant};
use test_support::daemon::request;
use test_support::daemon_site::DaemonEnv;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::scratch::set_mode;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};
use tokio::net::UnixSocket;

/// Longer than the daemon waits for an answer of the fallback.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

fn env(name: &str) -> DaemonEnv {
    let socket = ("sasl_sso_fallback_socket", "{scratch}/fallback");
    let env = DaemonEnv::new(name, &[socket]);
    env.cache_ticket("PT-1-known", "alice");
    env
}

/// Checks that the daemon closes the connection without an answer, that imapd reports a failure
/// other than a wrong password, and that the log contains `what`.
fn assert_outage(env: &DaemonEnv, what: &str) {
    let mark = env.mark();
    assert_eq!(env.ask("alice", "ordinary s3cr3t"), None, "{what}");
    let words = ["outcome=unavailable", "reason=fallback_unusable", what];
    let line = env.wait_for_log(mark, &words);
    assert_eq!(line.level, level::ERR);
    assert!(line.text.contains("/fallback: "), "{}", line.text);
    let reply = env.login("alice", "ordinary s3cr3t");
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert!(!env.cyrus.log().contains("s3cr3t"));
}

#[test]
fn missing_fallback_is_an_outage() {
    let env = env("absent");
    assert_outage(&env, "No such file");
    assert_outage(&env, "look whether saslauthd runs there");
    let listener = UnixListener::bind(env.fallback()).expect("a socket");
    set_mode(&env.fallback(), 0);
    assert_outage(&env, "have us in the group that may use it");
    set_mode(&env.fallback(), 0o666);
    drop(listener);
    assert_outage(&env, "Connection refused");
    std::fs::remove_file(env.fallback()).expect("the socket");
    // The daemon does not remember the failure.
    let answer = Answer::Bytes(b"\0\x02OK".to_vec());
    let _saslauthd = FaultySaslauthd::start(&env.fallback(), answer);
    assert_eq!(env.ask("alice", "ordinary").as_deref(), Some("OK"));
}

#[test]
fn malformed_answer_of_the_fallback_is_an_outage() {
    let env = env("nonsense");
    let saslauthd = FaultySaslauthd::start(&env.fallback(), Answer::Never);
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
        assert_outage(&env, what);
    }
    // A valid answer is passed on unchanged, in one piece or byte by byte.
    for answer in ["OK", "NO", "OK welcome", "NO account expired"] {
        let length = u8::try_from(answer.len()).expect("a short answer");
        let bytes = [&[0, length], answer.as_bytes()].concat();
        for behaviour in [Answer::Bytes(bytes.clone()), Answer::Drip(bytes)] {
            saslauthd.set(behaviour);
            assert_eq!(env.ask("alice", "ordinary").as_deref(), Some(answer));
            let reply = env.login("alice", "ordinary");
            assert_eq!(reply.ok, answer.starts_with("OK"), "{reply:?}");
        }
    }
}

/// Sends an ordinary password and does not wait for the answer.
fn send(env: &DaemonEnv) -> UnixStream {
    let mut stream = UnixStream::connect(env.daemon.mux()).expect("a socket");
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
    let env = env("hangs");
    let saslauthd = FaultySaslauthd::start(&env.fallback(), Answer::Never);
    // There are more requests than workers: waiting for the fallback occupies none.
    let waiting: Vec<UnixStream> = (0..100).map(|_| send(&env)).collect();
    assert!(wait_until(PATIENCE, || saslauthd.connections() == 100));
    env.cache_ticket("PT-2-new", "alice");
    assert!(env.login("alice", "PT-1-known").ok);
    // A slow answer does not delay a quick one.
    saslauthd.set(Answer::Bytes(b"\0\x02OK".to_vec()));
    assert_eq!(env.ask("alice", "ordinary").as_deref(), Some("OK"));
    assert_eq!(waiting.len(), 100);
    drop(saslauthd);
    for stream in waiting {
        assert_eq!(answer(stream), b"");
    }
}

#[test]
fn fallback_with_a_full_queue_is_waited_for() {
    let env = env("backlog");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    // A queue of one connection, to which Linux adds one.
    let listener = runtime.block_on(async {
        let socket = UnixSocket::new_stream().expect("a socket");
        socket.bind(env.fallback()).expect("a path");
        socket.listen(1).expect("a queue").into_std()
    });
    let listener = listener.expect("a listener");
    listener.set_nonblocking(false).expect("a listener");
    set_mode(&env.fallback(), 0o666);
    let filling: Vec<UnixStream> = (0..2)
        .map(|_| UnixStream::connect(env.fallback()).expect("room"))
        .collect();
    let mark = env.mark();
    let waiting = send(&env);
    sleep(Duration::from_millis(300));
    assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    assert_eq!(env.count(mark, "fallback_unusable"), 0);
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
    let env = env("forever");
    let saslauthd = FaultySaslauthd::start(&env.fallback(), Answer::Never);
    let mark = env.mark();
    let begin = Instant::now();
    assert_eq!(answer(send(&env)), b"");
    assert!(begin.elapsed() >= Duration::from_secs(55));
    env.wait_for_log(
        mark,
        &["reason=fallback_unusable", "no answer within 55 seconds"],
    );
    assert_eq!(saslauthd.connections(), 1);
}
