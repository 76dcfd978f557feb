//! Malformed input: silent clients, incomplete requests, random bytes. The next valid request is
//! answered, and all resources are released.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::scope;
use std::time::{Duration, Instant};
use test_support::daemon::{ask, request};
use test_support::daemon_site::DaemonEnv;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::usage::Usage;
use test_support::wait::{PATIENCE, wait_until};

/// Number of silent clients, and number of clients that send half a request.
const CROWD_SIZE: usize = 1_000;

/// Upper bound of the daemon's memory, in kB, with a thousand silent clients and a thousand that
/// have sent half of the longest request. These may use 1 kB and 16 kB each, which is 17 MB; the
/// daemon itself uses 8 MB, and the runtime 5 MB for 2,000 connections. The rest is for the C
/// library, whose memory layout varies and which keeps freed memory.
const MAX_MEMORY_KB: usize = 40 * 1_024;

/// Upper bound of the time that a valid request takes on a busy machine: far less than the five
/// seconds after which silent clients are disconnected.
const MAX_REPLY_TIME: Duration = Duration::from_secs(3);

/// Part of every credential, none of which may appear in the log.
const SECRET: &str = "s3cr3t";

fn env(name: &str) -> (DaemonEnv, FaultySaslauthd) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("more descriptors");
    let socket = ("sasl_sso_fallback_socket", "{scratch}/fallback");
    let env = DaemonEnv::new(name, &[socket]);
    let saslauthd = FaultySaslauthd::start(&env.fallback(), Answer::Bytes(b"\0\x02OK".to_vec()));
    env.cache_ticket("PT-1-cached-s3cr3t", "alice");
    (env, saslauthd)
}

/// A request with a cached ticket and one with an ordinary password are answered in time.
fn assert_valid_requests_are_answered(mux: &Path) {
    for password in ["PT-1-cached-s3cr3t", "ordinary s3cr3t"] {
        let start = Instant::now();
        let answer = ask(mux, &request(&["alice", password, "imap", ""]));
        assert_eq!(answer.as_deref(), Some("OK"));
        assert!(start.elapsed() < MAX_REPLY_TIME, "{:?}", start.elapsed());
    }
}

/// Checks that no log line contains a password or a ticket.
fn assert_no_secret_is_logged(env: &DaemonEnv) {
    for line in env.cyrus.log().lines() {
        assert!(!line.text.contains(SECRET), "{line:?}");
    }
}

/// Waits until the descriptors and threads of the crowd are released.
fn wait_until_released(env: &DaemonEnv, before: Usage) -> Usage {
    let is_released = || {
        let now = env.usage();
        // An idle worker may still wait for further requests.
        now.descriptors <= before.descriptors && now.threads <= before.threads + 2
    };
    assert!(wait_until(PATIENCE, is_released), "{:?}", env.usage());
    env.usage()
}

/// Opens connections on which only these bytes are sent.
fn crowd(mux: &Path, bytes: &[u8]) -> Vec<UnixStream> {
    let connect = |_| {
        let mut stream = UnixStream::connect(mux).expect("a socket");
        stream.write_all(bytes).expect("some bytes");
        stream
    };
    (0..CROWD_SIZE).map(connect).collect()
}

/// Everything that the server still sends.
fn read_to_end(mut stream: UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // The connection may be reset after the answer, if the client sent more than the server read.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn silent_and_incomplete_clients_do_not_delay_valid_requests() {
    let (env, _saslauthd) = env("silent");
    let mux = env.daemon.mux();
    let before = env.usage();
    let mark = env.mark();
    let silent = crowd(mux, b"");
    let longest = [&b"\0\x05alice\x3f\xf0"[..], SECRET.repeat(2_700).as_bytes()].concat();
    let half = crowd(mux, &longest);
    assert_valid_requests_are_answered(mux);
    assert!(env.login("alice", "PT-1-cached-s3cr3t").ok);
    let during = env.usage();
    assert!(during.descriptors > 2 * CROWD_SIZE, "{during:?}");

    // Each client gets an answer, and each is logged.
    for stream in silent.into_iter().chain(half) {
        assert_eq!(read_to_end(stream), b"\0\x02NO");
    }
    let what = "reason=message_malformed detail=\"the client did not send a whole request";
    let is_logged = || env.count(mark, what) == 2 * CROWD_SIZE;
    assert!(wait_until(PATIENCE, is_logged), "{}", env.count(mark, what));
    assert_valid_requests_are_answered(mux);
    // The C library reuses the memory that it kept.
    drop(crowd(mux, &longest));
    let after = wait_until_released(&env, before);
    println!("before: {before:?}\nduring: {during:?}\nafter: {after:?}");
    assert!(after.peak < MAX_MEMORY_KB, "{after:?}");
    assert_no_secret_is_logged(&env);
}

#[test]
fn malformed_requests_are_refused_and_unusual_ones_are_understood() {
    let (env, saslauthd) = env("odd");
    let mux = env.daemon.mux();
    let cached = "PT-1-cached-s3cr3t";
    let malformed = [
        b"\xff\xff".to_vec(),
        b"\0\x05alice\xff\xff".to_vec(),
        [&b"\0\x05alice\xff\xff"[..], SECRET.repeat(10).as_bytes()].concat(),
        [&request(&["alice", cached, "imap"])[..], b"\xff\xff"].concat(),
        request(&["", cached, "imap", ""]),
        request(&["al\0ice", cached, "imap", ""]),
        request(&["alice", cached, "imap", "\0"]),
        request(&["alice", cached, "im ap", ""]),
        request(&["alice", cached, "", ""]),
        raw_request(&[b"al\xffice", cached.as_bytes(), b"imap", b""]),
        raw_request(&[b"alice", cached.as_bytes(), b"im\xffap", b""]),
    ];
    let mark = env.mark();
    for bytes in &malformed {
        assert_eq!(ask(mux, bytes).as_deref(), Some("NO"), "{bytes:?}");
    }
    let is_logged = || env.count(mark, "outcome=malformed") == malformed.len();
    assert!(
        wait_until(PATIENCE, is_logged),
        "{}",
        env.cyrus.log().tail()
    );

    // Any other password is for saslauthd to check, whatever it contains.
    let ordinary = [
        request(&["", "", "", ""]),
        request(&["alice", "", "imap", ""]),
        request(&["alice", "with\0nul s3cr3t", "imap", ""]),
        raw_request(&[b"alice", b"PT-\xff-s3cr3t", b"imap", b""]),
    ];
    let asked = saslauthd.connections();
    for bytes in &ordinary {
        assert_eq!(ask(mux, bytes).as_deref(), Some("OK"), "{bytes:?}");
    }
    assert_eq!(saslauthd.connections(), asked + ordinary.len());

    // A request may arrive in any number of pieces, with the client's address or without.
    for fields in [4, 5] {
        let all = ["alice", cached, "imap", "", "192.0.2.7"];
        let bytes = request(&all[..fields]);
        assert_eq!(ask(mux, &bytes).as_deref(), Some("OK"));
        for size in [1, 2, 7] {
            let mut stream = UnixStream::connect(mux).expect("a socket");
            for piece in bytes.chunks(size) {
                // After the fourth field the daemon may answer without reading the fifth.
                let _ = stream.write_all(piece);
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(
                read_to_end(stream),
                b"\0\x02OK",
                "{fields} fields by {size}"
            );
        }
    }
    env.wait_for_log(mark, &["outcome=accepted", "client=192.0.2.7"]);
    assert_valid_requests_are_answered(mux);
    assert_no_secret_is_logged(&env);
}

/// Like [`request`], with fields of any bytes.
fn raw_request(fields: &[&[u8]]) -> Vec<u8> {
    let field = |bytes: &&[u8]| {
        let length = u16::try_from(bytes.len()).expect("a field that fits");
        [&length.to_be_bytes()[..], bytes].concat()
    };
    fields.iter().flat_map(field).collect()
}

/// A pseudo-random generator (xorshift) with a fixed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("a small number")
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length)
            .map(|_| self.below(256).to_le_bytes()[0])
            .collect()
    }

    /// Random bytes, or a nearly valid request.
    fn garbage(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => self.bytes(20_000),
            1 => [&b"\0\x05alice\0\x40PT-s3cr3t-"[..], &self.bytes(200)].concat(),
            kind => {
                let longest = if kind == 2 { 5 } else { 4_000 };
                let fields: Vec<Vec<u8>> = (0..6).map(|_| self.bytes(longest)).collect();
                let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                let mut bytes = raw_request(&fields[..self.below(6) + 1]);
                bytes.truncate(bytes.len() - self.below(bytes.len().min(4)));
                bytes
            }
        }
    }

    /// Sends garbage and closes the connection in one of several ways.
    fn send_garbage(&mut self, mux: &Path) {
        let mut stream = UnixStream::connect(mux).expect("a socket");
        let _ = stream.write_all(&self.garbage());
        match self.below(3) {
            0 => drop(stream),
            1 => {
                let _ = stream.shutdown(Shutdown::Write);
                read_to_end(stream);
            }
            _ => {
                stream.set_nonblocking(true).expect("a stream");
                let _ = stream.read(&mut [0; 4]);
            }
        }
    }
}

fn garbage_for(time: Duration) {
    let (env, _saslauthd) = env("garbage");
    let mux = env.daemon.mux();
    let before = env.usage();
    let end = Instant::now() + time;
    let (mut sent, mut answered) = (0, 0);
    scope(|scope| {
        let senders: Vec<_> = (1..4)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
                    let mut sent = 0;
                    while Instant::now() < end {
                        random.send_garbage(mux);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        while Instant::now() < end {
            assert_valid_requests_are_answered(mux);
            answered += 2;
        }
        for sender in senders {
            sent += sender.join().expect("the number of connections");
        }
    });
    assert_valid_requests_are_answered(mux);
    let after = wait_until_released(&env, before);
    println!(
        "{sent} times garbage, {answered} honest answers\nbefore: {before:?}\nafter: {after:?}"
    );
    assert!(sent > 100 && answered > 100);
    // Garbage is never kept for long, so that its memory never adds up.
    assert!(after.peak < MAX_MEMORY_KB / 2, "{after:?}");
    assert_no_secret_is_logged(&env);
}

#[test]
fn garbage_does_not_delay_valid_requests() {
    garbage_for(Duration::from_secs(3));
}

#[test]
#[ignore = "of a minute: make soak"]
fn garbage_does_not_delay_valid_requests_for_a_minute() {
    garbage_for(Duration::from_secs(60));
}
