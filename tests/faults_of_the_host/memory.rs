//! The address space exhausted: what becomes of a login, and of the process; and that no client and
//! no server can make a process exhaust it.

use super::world::{KNOWN, World, row};
use crate::harness::authority::Authority;
use crate::harness::base64;
use crate::harness::cyrus::{Cyrus, Options};
use crate::harness::faulty_cas::{Behaviour, FaultyCas};
use crate::harness::mint::SigningKey;
use crate::harness::scratch::Scratch;
use crate::harness::usage::Usage;
use crate::libsasl2::site::PROXY;
use crate::libsasl2::token_site::oauthbearer;
use crate::libsasl2::{caspt, code, hex, plugin};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// How much of the address space is left, in kB: less than anything takes, less than a thread has
/// for its stack, less than two have, less than the map of the store, enough.
const LEFT: [u32; 14] = [
    0, 64, 200, 256, 400, 1_024, 2_100, 2_200, 3_000, 4_096, 8_192, 32_768, 131_072, 4_000_000,
];

/// Rust ends a process that gets no memory, and so does libsasl2.
#[test]
fn without_memory_a_process_may_end_but_nobody_is_let_in_who_should_not_be() {
    let world = World::new("memory");
    assert_eq!(world.driver(&[]).ticket(KNOWN).code(), code::OK);
    let mut seen = BTreeMap::new();
    for left in LEFT {
        for age in ["old", "new"] {
            let mut driver = world.driver(&[]);
            if age == "old" {
                assert_eq!(driver.ticket(KNOWN).code(), code::OK);
                assert_eq!(driver.token(&world.token(0)).code(), code::OK);
            }
            let ticket = format!("PT-{left}-{age}");
            world.arm(&ticket);
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
                            "in"
                        }
                        code::UNAVAIL => "unavailable",
                        // No memory for the second thread of a request.
                        code::FAIL => "failed",
                        // A new process that has no room for the map of the store knows nobody.
                        code::BADAUTH if number == 2 || age == "new" => "refused",
                        _ => panic!("{left} {age}: {answer:?}"),
                    },
                    Err(said) => {
                        let status = driver.ended();
                        let by_itself = status.signal() == Some(Signal::SIGABRT as i32);
                        assert!(by_itself || status.code() == Some(1), "{status:?} {said:?}");
                        *seen.entry("ended").or_insert(0) += 1;
                        break;
                    }
                };
                *seen.entry(what).or_insert(0) += 1;
                if number == 0 && age == "old" {
                    assert_eq!(what, "in", "{left}");
                }
            }
        }
        // Whoever ended left no lock, and the store as it was.
        let mut other = world.driver(&[]);
        let answer = other.ticket(KNOWN);
        assert_eq!(
            answer.field("source").as_deref(),
            Some("host"),
            "{answer:?}"
        );
        let ticket = format!("PT-{left}-after");
        world.arm(&ticket);
        assert_eq!(other.ticket(&ticket).code(), code::OK);
    }
    assert!(
        seen.get("in") > Some(&0) && seen.get("unavailable") > Some(&0),
        "{seen:?}"
    );
    row(
        "0 kB to 4 GB of address space left, before and after the store is open",
        seen.values().sum(),
        &format!("{seen:?}; the last is SIGABRT, below 400 kB and where a second thread just fits"),
        "the process and its connection; nobody is in who should not be, the store is whole",
    );
}

/// What a client hears of imapd, which gets so many kB more than it has when it greets: in, NO, or
/// the end of the connection.
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
        line if line.starts_with("a OK") => "in",
        line if line.contains("unavailable") => "unavailable",
        line if line.starts_with("a ") => "NO",
        _ => "connection closed",
    }
}

/// Lets a process of Cyrus' have so many kB more of address space.
fn limit(scratch: &Scratch, pid: u32, left: u32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("a process");
    let pages: u64 = status
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("pages");
    let bytes = pages * 4_096 + u64::from(left) * 1_024;
    // Only its own user may do that, and only to the limit that is not the hard one.
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
fn without_memory_imapd_ends_alone_and_the_service_goes_on() {
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
    assert_eq!(first, "in", "{}", cyrus.log().tail());
    let mut seen = BTreeMap::new();
    let mut tried = 0;
    for left in LEFT {
        let ticket = format!("PT-{left}-new");
        cas.arm(&ticket, "alice", &[PROXY]);
        for ticket in [ticket.as_str(), "PT-0-bad"] {
            let what = log_in(&scratch, &cyrus, ticket, Some(left));
            assert!(what != "in" || ticket != "PT-0-bad");
            *seen.entry(what).or_insert(0) += 1;
            tried += 1;
            // master starts others, and what was known is known.
            let known = log_in(&scratch, &cyrus, KNOWN, None);
            assert_eq!(known, "in", "{}", cyrus.log().tail());
        }
    }
    assert!(seen.contains_key("in") && seen.len() > 1, "{seen:?}");
    row(
        "0 kB to 4 GB of address space left to a real imapd before it logs in",
        tried,
        &format!("{seen:?}"),
        "nothing: the service goes on, and known sessions with it",
    );
}

/// What a login may take at most whatever is sent, in kB: the bounds on what is read are 64 kB of a
/// CAS reply and 256 kB of keys, and what is parsed of them is a small multiple of that.
const BOUND: usize = 6 * 1_024;

#[test]
fn whatever_clients_and_servers_send_a_process_stays_small() {
    let world = World::new("bounded");
    let mut driver = world.driver(&[]);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    assert_eq!(driver.token(&world.token(0)).code(), code::OK);
    // The driver itself has the message twice.
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
        world.site.cas.set(behaviour);
        let answer = driver.ticket(&format!("PT-{number}-huge"));
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        tried += 1;
    }
    // A key that is not known makes the issuer be asked.
    world.issuer.set(Behaviour::Huge(3_000_000));
    let stranger = World::signed(&world.issuer, &SigningKey::p256(), "k2", 1);
    let answer = driver.token(&stranger);
    assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
    assert_eq!(answer.reason(), "reply_unusable");
    tried += 1;
    let peak = Usage::of(driver.pid()).peak;
    assert!(peak <= before + BOUND, "{before} {peak}");
    row(
        "messages of 400 kB, replies of 3 MB or without end, nested 200,000 deep",
        tried,
        "refused, or unavailable if a server sent it",
        &format!("nothing: {} kB more at the most", peak - before),
    );
}

fn base64url(text: &str) -> String {
    let text = base64::encode(text.as_bytes());
    text.replace('+', "-").replace('/', "_").replace('=', "")
}
