//! Exhausted address space: its effect on a login and on the process; and a bound on the memory
//! that clients and servers can make a process use.

use super::fault_env::{FaultEnv, KNOWN, print_row};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use test_support::authority::Authority;
use test_support::base64;
use test_support::cyrus::{Cyrus, Options};
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::libsasl2::{caspt, code, hex, plugin};
use test_support::mint::SigningKey;
use test_support::scratch::Scratch;
use test_support::usage::Usage;

/// Remaining address space in kB: too little for an allocation, for the stack of one thread, for
/// the stacks of two, for the map of the LMDB environment; and enough.
const REMAINING_KB: [u32; 14] = [
    0, 64, 200, 256, 400, 1_024, 2_100, 2_200, 3_000, 4_096, 8_192, 32_768, 131_072, 4_000_000,
];

/// Rust and libsasl2 abort a process when an allocation fails.
#[test]
fn out_of_memory_never_accepts_a_bad_ticket() {
    let env = FaultEnv::new("memory");
    assert_eq!(env.driver(&[]).ticket(KNOWN).code(), code::OK);
    let mut seen = BTreeMap::new();
    for left in REMAINING_KB {
        for age in ["old", "new"] {
            let mut driver = env.driver(&[]);
            if age == "old" {
                assert_eq!(driver.ticket(KNOWN).code(), code::OK);
                assert_eq!(driver.token(&env.token(0)).code(), code::OK);
            }
            let ticket = format!("PT-{left}-{age}");
            env.arm(&ticket);
            driver.ask(&format!("limit {left}"));
            for (number, ticket) in [KNOWN, &ticket, "PT-0-bad"].into_iter().enumerate() {
                driver.tell(&caspt(format!("\0\0{ticket}").as_bytes()));
                let answer = driver.answer_or_end();
                let said = |word| match &answer {
                    Ok(answer) | Err(answer) => {
                        answer.log.iter().any(|(_, line)| line.contains(word))
                    }
                };
                assert!(!said("not shared") || said("LimitAS"), "{answer:?}");
                let what = match answer {
                    Ok(answer) => match answer.code() {
                        code::OK => {
                            assert_ne!(ticket, "PT-0-bad", "{left} {age}: {answer:?}");
                            "accepted"
                        }
                        code::UNAVAIL => "unavailable",
                        // The second thread of a request cannot be created.
                        code::FAIL => "failed",
                        // A new process without address space for the map finds no session.
                        code::BADAUTH if number == 2 || age == "new" => "refused",
                        _ => panic!("{left} {age}: {answer:?}"),
                    },
                    Err(said) => {
                        let status = driver.ended();
                        let aborted = status.signal() == Some(Signal::SIGABRT as i32);
                        // glibc ends a process with 127 that has no memory for thread-local data.
                        let exited = matches!(status.code(), Some(1 | 127));
                        assert!(aborted || exited, "{status:?} {said:?}");
                        *seen.entry("ended").or_insert(0) += 1;
                        break;
                    }
                };
                *seen.entry(what).or_insert(0) += 1;
                if number == 0 && age == "old" {
                    assert_eq!(what, "accepted", "{left}");
                }
            }
        }
        // A process that ended holds no lock, and the session cache is intact.
        let mut other = env.driver(&[]);
        let answer = other.ticket(KNOWN);
        assert_eq!(
            answer.field("source").as_deref(),
            Some("host"),
            "{answer:?}"
        );
        let ticket = format!("PT-{left}-after");
        env.arm(&ticket);
        assert_eq!(other.ticket(&ticket).code(), code::OK);
    }
    assert!(
        seen.get("accepted") > Some(&0) && seen.get("unavailable") > Some(&0),
        "{seen:?}"
    );
    print_row(
        "0 kB to 4 GB of address space left, before and after the store is open",
        seen.values().sum(),
        &format!("{seen:?}; the last is SIGABRT, below 400 kB and where a second thread just fits"),
        "the process and its connection; no bad ticket accepted, the session cache intact",
    );
}

/// Logs in to imapd, whose address space is limited to `left` kB more than it has after the
/// greeting. Returns what the client sees.
fn log_in(scratch: &Scratch, cyrus: &Cyrus, ticket: &str, left: Option<u32>) -> &'static str {
    let talk = || -> std::io::Result<String> {
        let before = cyrus.children();
        let mut stream = TcpStream::connect(("127.0.0.1", cyrus.imap_port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if let Some(left) = left {
            for pid in cyrus.children() {
                if !before.contains(&pid) {
                    limit(scratch, pid, left);
                }
            }
        }
        let message = base64::encode(format!("\0\0{ticket}").as_bytes());
        write!(stream, "a AUTHENTICATE CASPT {message}\r\n")?;
        loop {
            line.clear();
            if lines.read_line(&mut line)? == 0 || line.starts_with("a ") {
                return Ok(line);
            }
            if line.starts_with('+') {
                stream.write_all(b"AQ==\r\n")?;
            }
        }
    };
    match talk().unwrap_or_default() {
        line if line.starts_with("a OK") => "accepted",
        line if line.contains("unavailable") => "unavailable",
        line if line.starts_with("a ") => "NO",
        _ => "connection closed",
    }
}

/// Limits the address space of a process of Cyrus to `left` kB more than it has.
fn limit(scratch: &Scratch, pid: u32, left: u32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/statm"))
        .expect("cannot read the size of the process");
    let pages: u64 = status
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("the size of the process is not a number");
    let bytes = pages * 4_096 + u64::from(left) * 1_024;
    // Only the user of the process may set its soft limit.
    let as_cyrus = ["runuser", "-u", "cyrus", "--", "prlimit"];
    let words = if nix::unistd::geteuid().is_root() {
        &as_cyrus[..]
    } else {
        &as_cyrus[4..]
    };
    let mut command = scratch.command(words[0]);
    command.args(&words[1..]);
    command.args([format!("--pid={pid}"), format!("--as={bytes}:")]);
    scratch.run("prlimit", command, "");
}

#[test]
fn imapd_out_of_memory_does_not_stop_the_service() {
    let scratch = Scratch::new("imapdmemory");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let ca = authority.write_ca(&scratch).display().to_string();
    let lines = [
        ("sasl_caspt_url", cas.url()),
        ("sasl_caspt_ca_file", ca),
        ("sasl_caspt_proxies", PROXY.to_owned()),
        ("failedloginpause", "0".to_owned()),
    ];
    let options = Options {
        plugin: Some(plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        reuse: 1,
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cas.arm(KNOWN, "alice", &[PROXY]);
    let first = log_in(&scratch, &cyrus, KNOWN, None);
    assert_eq!(first, "accepted", "{}", cyrus.log().tail());
    let mut seen = BTreeMap::new();
    let mut tried = 0;
    for left in REMAINING_KB {
        let ticket = format!("PT-{left}-new");
        cas.arm(&ticket, "alice", &[PROXY]);
        for ticket in [ticket.as_str(), "PT-0-bad"] {
            let what = log_in(&scratch, &cyrus, ticket, Some(left));
            assert!(what != "accepted" || ticket != "PT-0-bad");
            *seen.entry(what).or_insert(0) += 1;
            tried += 1;
            // master starts a new imapd, and known sessions are accepted.
            let known = log_in(&scratch, &cyrus, KNOWN, None);
            assert_eq!(known, "accepted", "{}", cyrus.log().tail());
        }
    }
    assert!(seen.contains_key("accepted") && seen.len() > 1, "{seen:?}");
    print_row(
        "0 kB to 4 GB of address space left to a real imapd before it logs in",
        tried,
        &format!("{seen:?}"),
        "nothing: the service continues, known sessions are accepted",
    );
}

/// Maximum memory in kB that a login may use, whatever is sent. A CAS reply is limited to 64 kB and
/// a key set to 256 kB, and parsing needs a small multiple of that.
const MAX_GROWTH_KB: usize = 6 * 1_024;

#[test]
fn memory_use_is_bounded_whatever_is_received() {
    let env = FaultEnv::new("bounded");
    let mut driver = env.driver(&[]);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    assert_eq!(driver.token(&env.token(0)).code(), code::OK);
    // The driver itself keeps two copies of the message.
    let long = 400_000;
    driver.ask(&format!("many CASPT 1 {}", hex(&[b'x'; 1_000])));
    let before = Usage::of(driver.pid()).peak;
    let mut tried = 0;
    let nested = format!(
        "{}.{}.AAAA",
        base64url(r#"{"alg":"ES256"}"#),
        base64url(&"[".repeat(long / 2))
    );
    for (mechanism, message) in [
        ("CASPT", vec![b'x'; long]),
        ("CASPT", vec![0; long]),
        ("CASPT", format!("\0\0PT-{}", "1".repeat(long)).into_bytes()),
        ("OAUTHBEARER", oauthbearer(&"e".repeat(long))),
        ("OAUTHBEARER", oauthbearer(&nested)),
        ("XOAUTH2", vec![b'x'; long]),
    ] {
        let answer = driver.ask(&format!("login {mechanism} {} 01", hex(&message)));
        assert!(
            [code::BADPROT, code::BADAUTH].contains(&answer.code()),
            "{answer:?}"
        );
        tried += 1;
    }
    let deep = format!("{}x", "<cas:a>".repeat(9_000));
    for (number, behaviour) in [
        Behaviour::Huge(3_000_000),
        Behaviour::Answer(deep),
        Behaviour::RawBytes(vec![b'x'; 1_000_000]),
        Behaviour::RawBytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n".to_vec()),
        Behaviour::RawBytes([b"HTTP/1.1 200 OK\r\nX: ", &vec![b'x'; 1_000_000][..]].concat()),
    ]
    .into_iter()
    .enumerate()
    {
        env.site.cas.set(behaviour);
        let answer = driver.ticket(&format!("PT-{number}-huge"));
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        tried += 1;
    }
    // An unknown key ID causes a fetch of the key set.
    env.issuer.set(Behaviour::Huge(3_000_000));
    let unknown_key = FaultEnv::signed(&env.issuer, &SigningKey::p256(), "k2", 1);
    let answer = driver.token(&unknown_key);
    assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
    assert_eq!(answer.reason(), "reply_unusable");
    tried += 1;
    let peak = Usage::of(driver.pid()).peak;
    assert!(peak <= before + MAX_GROWTH_KB, "{before} {peak}");
    print_row(
        "messages of 400 kB, replies of 3 MB or endless, nested 200,000 deep",
        tried,
        "refused, or unavailable if a server sent it",
        &format!("nothing: {} kB more at the most", peak - before),
    );
}

fn base64url(text: &str) -> String {
    let text = base64::encode(text.as_bytes());
    text.replace('+', "-").replace('/', "_").replace('=', "")
}
