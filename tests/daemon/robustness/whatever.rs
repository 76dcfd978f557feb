//! Whatever comes: silence, halves, nonsense. The next honest request has its answer, and what it
//! cost is given back.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::scope;
use std::time::{Duration, Instant};
use test_support::daemon::{ask, request};
use test_support::daemon_site::Site;
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::usage::Usage;
use test_support::wait::{PATIENCE, wait_until};

/// How many say nothing, and how many say half.
const MANY: usize = 1_000;

/// What the daemon may have used at most when a thousand say nothing and a thousand say half of the
/// longest request, in kB. They may take 1 kB and 16 kB each, which is 17 MB; the daemon itself takes
/// 8 MB, what the runtime has for 2,000 connections 5 MB. The rest is for the C library, which lays
/// memory out differently each time, and keeps what was freed.
const MEMORY: usize = 40 * 1_024;

/// How long an honest client waits at most, however busy the machine: far less than the five seconds
/// after which those who say nothing are gone.
const HONEST: Duration = Duration::from_secs(3);

/// In all that must not be in the log.
const SECRET: &str = "s3cr3t";

fn site(name: &str) -> (Site, FaultySaslauthd) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("more descriptors");
    let socket = ("sasl_sso_fallback_socket", "{scratch}/fallback");
    let site = Site::new(name, &[socket]);
    let saslauthd = FaultySaslauthd::start(&site.fallback(), Answer::Bytes(b"\0\x02OK".to_vec()));
    site.know("PT-1-known-s3cr3t", "alice");
    (site, saslauthd)
}

/// A client that is known, and one with an ordinary password.
fn honest_clients_are_answered(mux: &Path) {
    for password in ["PT-1-known-s3cr3t", "ordinary s3cr3t"] {
        let start = Instant::now();
        let answer = ask(mux, &request(&["alice", password, "imap", ""]));
        assert_eq!(answer.as_deref(), Some("OK"));
        assert!(start.elapsed() < HONEST, "{:?}", start.elapsed());
    }
}

/// No line has a password or a ticket in it.
fn nothing_is_told(site: &Site) {
    for line in site.cyrus.log().lines() {
        assert!(!line.text.contains(SECRET), "{line:?}");
    }
}

/// What came with the crowd has gone with it.
fn all_is_given_back(site: &Site, before: Usage) -> Usage {
    let is_back = || {
        let now = site.usage();
        // A worker may still be there for the next who comes.
        now.descriptors <= before.descriptors && now.threads <= before.threads + 2
    };
    assert!(wait_until(PATIENCE, is_back), "{:?}", site.usage());
    site.usage()
}

/// Connections on which this is said, and no more.
fn crowd(mux: &Path, bytes: &[u8]) -> Vec<UnixStream> {
    let connect = |_| {
        let mut stream = UnixStream::connect(mux).expect("a socket");
        stream.write_all(bytes).expect("some bytes");
        stream
    };
    (0..MANY).map(connect).collect()
}

/// All that the server still says.
fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // Who sent more than was read may find the connection reset behind the answer.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn a_thousand_who_say_nothing_and_a_thousand_who_say_half_keep_nobody_waiting() {
    let (site, _saslauthd) = site("silent");
    let mux = site.daemon.mux();
    let before = site.usage();
    let mark = site.mark();
    let silent = crowd(mux, b"");
    let longest = [&b"\0\x05alice\x3f\xf0"[..], SECRET.repeat(2_700).as_bytes()].concat();
    let half = crowd(mux, &longest);
    honest_clients_are_answered(mux);
    assert!(site.login("alice", "PT-1-known-s3cr3t").ok);
    let during = site.usage();
    assert!(during.descriptors > 2 * MANY, "{during:?}");

    // Each is told, and the administrator too.
    for stream in silent.into_iter().chain(half) {
        assert_eq!(rest(stream), b"\0\x02NO");
    }
    let what = "reason=message_malformed detail=\"the client did not send a whole request";
    let is_told = || site.count(mark, what) == 2 * MANY;
    assert!(wait_until(PATIENCE, is_told), "{}", site.count(mark, what));
    honest_clients_are_answered(mux);
    // What the C library keeps of it is used again.
    drop(crowd(mux, &longest));
    let after = all_is_given_back(&site, before);
    println!("before: {before:?}\nduring: {during:?}\nafter: {after:?}");
    assert!(after.peak < MEMORY, "{after:?}");
    nothing_is_told(&site);
}

#[test]
fn what_can_be_no_request_is_refused_at_once_and_what_can_is_understood() {
    let (site, saslauthd) = site("odd");
    let mux = site.daemon.mux();
    let known = "PT-1-known-s3cr3t";
    let malformed = [
        b"\xff\xff".to_vec(),
        b"\0\x05alice\xff\xff".to_vec(),
        [&b"\0\x05alice\xff\xff"[..], SECRET.repeat(10).as_bytes()].concat(),
        [&request(&["alice", known, "imap"])[..], b"\xff\xff"].concat(),
        request(&["", known, "imap", ""]),
        request(&["al\0ice", known, "imap", ""]),
        request(&["alice", known, "imap", "\0"]),
        request(&["alice", known, "im ap", ""]),
        request(&["alice", known, "", ""]),
        raw_request(&[b"al\xffice", known.as_bytes(), b"imap", b""]),
        raw_request(&[b"alice", known.as_bytes(), b"im\xffap", b""]),
    ];
    let mark = site.mark();
    for bytes in &malformed {
        assert_eq!(ask(mux, bytes).as_deref(), Some("NO"), "{bytes:?}");
    }
    let is_told = || site.count(mark, "outcome=malformed") == malformed.len();
    assert!(wait_until(PATIENCE, is_told), "{}", site.cyrus.log().tail());

    // What is none of ours is for saslauthd to judge, whatever it is.
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

    // However it comes, and with the address of the client or without.
    for fields in [4, 5] {
        let all = ["alice", known, "imap", "", "192.0.2.7"];
        let bytes = request(&all[..fields]);
        assert_eq!(ask(mux, &bytes).as_deref(), Some("OK"));
        for size in [1, 2, 7] {
            let mut stream = UnixStream::connect(mux).expect("a socket");
            for piece in bytes.chunks(size) {
                // Once it has the first four it has no need of the fifth.
                let _ = stream.write_all(piece);
                std::thread::sleep(Duration::from_millis(2));
            }
            assert_eq!(rest(stream), b"\0\x02OK", "{fields} fields by {size}");
        }
    }
    site.said(mark, &["outcome=accepted", "client=192.0.2.7"]);
    honest_clients_are_answered(mux);
    nothing_is_told(&site);
}

/// As [`request`], of bytes.
fn raw_request(fields: &[&[u8]]) -> Vec<u8> {
    let field = |bytes: &&[u8]| {
        let length = u16::try_from(bytes.len()).expect("a field that fits");
        [&length.to_be_bytes()[..], bytes].concat()
    };
    fields.iter().flat_map(field).collect()
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
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

    /// Anything, or what is nearly a request.
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

    /// Sends some, and leaves in one way or another.
    fn trouble(&mut self, mux: &Path) {
        let mut stream = UnixStream::connect(mux).expect("a socket");
        let _ = stream.write_all(&self.garbage());
        match self.below(3) {
            0 => drop(stream),
            1 => {
                let _ = stream.shutdown(Shutdown::Write);
                rest(stream);
            }
            _ => {
                stream.set_nonblocking(true).expect("a stream");
                let _ = stream.read(&mut [0; 4]);
            }
        }
    }
}

fn garbage_for(time: Duration) {
    let (site, _saslauthd) = site("garbage");
    let mux = site.daemon.mux();
    let before = site.usage();
    let end = Instant::now() + time;
    let (mut sent, mut answered) = (0, 0);
    scope(|scope| {
        let troubles: Vec<_> = (1..4)
            .map(|seed| {
                scope.spawn(move || {
                    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
                    let mut sent = 0;
                    while Instant::now() < end {
                        chance.trouble(mux);
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        while Instant::now() < end {
            honest_clients_are_answered(mux);
            answered += 2;
        }
        for trouble in troubles {
            sent += trouble.join().expect("a trouble maker");
        }
    });
    honest_clients_are_answered(mux);
    let after = all_is_given_back(&site, before);
    println!(
        "{sent} times garbage, {answered} honest answers\nbefore: {before:?}\nafter: {after:?}"
    );
    assert!(sent > 100 && answered > 100);
    // None of it stays for long, so that it is never much at once.
    assert!(after.peak < MEMORY / 2, "{after:?}");
    nothing_is_told(&site);
}

#[test]
fn garbage_keeps_nobody_waiting() {
    garbage_for(Duration::from_secs(3));
}

#[test]
#[ignore = "of a minute: make soak"]
fn garbage_keeps_nobody_waiting_for_a_minute() {
    garbage_for(Duration::from_secs(60));
}
