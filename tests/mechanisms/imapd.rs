//! The shipped plugin in the real imapd, as its users and its administrator see it.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

mod facilities;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::cyrus_conf::Service;
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::imap::Imap;
use test_support::imap_reply::Reply;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::syslog::level;
use test_support::wait::{PATIENCE, wait_until};

/// Options of a Cyrus with this CAS server; each connection gets a new process.
fn options(scratch: &Scratch, authority: &Authority, cas: &FaultyCas) -> Options {
    let lines = [
        ("sasl_caspt_url", cas.url()),
        (
            "sasl_caspt_ca_file",
            authority.write_ca(scratch).display().to_string(),
        ),
        ("sasl_caspt_proxies", PROXY.to_owned()),
        ("sasl_caspt_timeout", "2".to_owned()),
    ];
    Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        reuse: 1,
        ..Options::default()
    }
}

fn with(mut options: Options, lines: &[(&str, &str)]) -> Options {
    for (name, value) in lines {
        options.imapd_conf.retain(|(known, _)| known != name);
        options
            .imapd_conf
            .push(((*name).to_owned(), (*value).to_owned()));
    }
    options
}

fn caspt(cyrus: &Cyrus, message: &str) -> Reply {
    Imap::connect(cyrus.imap_port()).authenticate("CASPT", message.as_bytes(), &[b"\x01"])
}

fn ticket(cyrus: &Cyrus, ticket: &str) -> Reply {
    caspt(cyrus, &format!("\0\0{ticket}"))
}

#[test]
fn sessions_survive_process_ends_sighup_and_restart() {
    let scratch = Scratch::new("survive");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let mut cyrus = Cyrus::start(&scratch, &authority, options(&scratch, &authority, &cas));
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    let mut processes = HashSet::new();
    for _ in 0..5 {
        let reply = ticket(&cyrus, "PT-1-alice");
        assert!(reply.ok, "{reply:?}\n{}", cyrus.log().tail());
        processes.insert(reply.session_pid.expect("a SESSIONID"));
    }
    assert_eq!(processes.len(), 5);
    cyrus.hup();
    assert!(ticket(&cyrus, "PT-1-alice").ok);
    cyrus.restart();
    assert!(ticket(&cyrus, "PT-1-alice").ok);
    assert_eq!(cas.requests().len(), 1);
}

#[test]
fn sessions_end_after_the_idle_timeout_and_the_ttl() {
    let scratch = Scratch::new("end");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let lifetimes = [
        ("sasl_caspt_session_ttl", "9"),
        ("sasl_caspt_session_idle", "4"),
    ];
    let options = with(options(&scratch, &authority, &cas), &lifetimes);
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cas.arm("PT-1-idle", "alice", &[PROXY]);
    cas.arm("PT-2-busy", "alice", &[PROXY]);
    assert!(ticket(&cyrus, "PT-1-idle").ok && ticket(&cyrus, "PT-2-busy").ok);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        assert!(ticket(&cyrus, "PT-2-busy").ok);
        std::thread::sleep(Duration::from_millis(300));
    }
    // The ended session is visible because CAS accepts a ticket only once.
    for ended in ["PT-1-idle", "PT-2-busy"] {
        if ended == "PT-2-busy" {
            std::thread::sleep(Duration::from_millis(9_300).saturating_sub(begin.elapsed()));
        }
        let reply = ticket(&cyrus, ended);
        assert!(!reply.ok, "{ended}");
        assert!(String::from_utf8_lossy(&reply.challenges[0]).contains("invalid_ticket"));
    }
    assert_eq!(cas.requests().len(), 4);
}

#[test]
fn outage_is_reported_as_such_and_cached_sessions_are_accepted() {
    let scratch = Scratch::new("outage");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let cyrus = Cyrus::start(&scratch, &authority, options(&scratch, &authority, &cas));
    cas.arm("PT-1-known", "alice", &[PROXY]);
    assert!(ticket(&cyrus, "PT-1-known").ok);
    cas.set(Behaviour::HangAfterRequest);
    let start = Instant::now();
    let reply = ticket(&cyrus, "PT-2-new");
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert!(
        reply
            .status_line
            .contains("remote authentication server unavailable"),
        "{reply:?}"
    );
    assert_eq!(reply.challenges.len(), 0);
    let line = cyrus
        .log()
        .wait_for(|line| line.text.contains("reason=server_timeout"), PATIENCE);
    assert_eq!(line.expect("a line in the log").level, level::WARNING);
    assert!(ticket(&cyrus, "PT-1-known").ok);
    cas.set(Behaviour::Tickets);
    cas.arm("PT-2-new", "alice", &[PROXY]);
    assert!(ticket(&cyrus, "PT-2-new").ok);
}

#[test]
fn imapd_that_waits_for_cas_ends_at_sigterm() {
    let scratch = Scratch::new("term");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let long_timeout = [("sasl_caspt_timeout", "30")];
    let options = with(options(&scratch, &authority, &cas), &long_timeout);
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cas.set(Behaviour::HangAfterRequest);
    let mut imap = Imap::connect(cyrus.imap_port());
    imap.send(b"a AUTHENTICATE CASPT AABQVC0xLWhhbmdpbmc=\r\n");
    assert!(wait_until(PATIENCE, || cas.requests().len() == 1));
    let children = cyrus.children();
    let start = Instant::now();
    for pid in &children {
        kill(Pid::from_raw(*pid as i32), Signal::SIGTERM).expect("SIGTERM to imapd");
    }
    assert!(cyrus.replaced(&children));
    // Well before CAS would have timed out after 30 seconds.
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    let line = cyrus
        .log()
        .wait_for(|line| line.text.contains("reason=interrupted"), PATIENCE);
    assert!(line.is_some(), "{}", cyrus.log().tail());
}

#[test]
fn reason_of_a_refusal_is_logged_and_not_sent_to_the_client() {
    let scratch = Scratch::new("reason");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let cyrus = Cyrus::start(&scratch, &authority, options(&scratch, &authority, &cas));
    cas.arm("PT-1-foreign", "alice", &["https://evil.example/"]);
    cas.arm("PT-2-alice", "alice", &[PROXY]);
    for (message, reason, status) in [
        ("\0\0PT-0-unknown", "ticket_refused", "invalid_ticket"),
        ("\0\0PT-1-foreign", "proxy_not_allowed", "not_allowed"),
        ("\0bob\0PT-2-alice", "user_mismatch", "invalid_ticket"),
        ("\0\0password", "ticket_malformed", "invalid_request"),
    ] {
        let mark = cyrus.log().mark();
        let reply = caspt(&cyrus, message);
        assert!(!reply.ok);
        let answers = format!(
            "{}{}",
            String::from_utf8_lossy(&reply.challenges[0]),
            reply.status_line
        );
        assert!(answers.contains(status), "{answers}");
        for secret in [reason, "alice", "evil"] {
            assert!(!answers.contains(secret), "{answers}");
        }
        let logged = format!("reason={reason} ");
        let line = cyrus
            .log()
            .wait_for_since(mark, |line| line.text.contains(&logged), PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no {reason}\n{}", cyrus.log().tail()));
        assert_eq!(line.level, level::INFO);
    }
    assert!(!cyrus.log().contains("PT-0-unknown"));
}

#[test]
fn names_are_canonicalized_by_imapd_which_also_authorizes_proxies() {
    let scratch = Scratch::new("names");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let admins = [("proxyservers", "webmail")];
    let options = with(options(&scratch, &authority, &cas), &admins);
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cas.arm("PT-1-alice", "Alice", &[PROXY]);
    cas.arm("PT-2-webmail", "webmail", &[PROXY]);
    cas.arm("PT-3-domain", "alice@elsewhere.example", &[PROXY]);
    assert!(caspt(&cyrus, "\0ALICE\0PT-1-alice").ok);
    assert!(caspt(&cyrus, "alice\0alice\0PT-1-alice").ok);
    assert!(!caspt(&cyrus, "bob\0alice\0PT-1-alice").ok);
    assert!(caspt(&cyrus, "bob\0\0PT-2-webmail").ok);
    let acting = cyrus
        .log()
        .wait_for(|line| line.text.contains("bob CASPT"), PATIENCE);
    assert!(acting.is_some(), "{}", cyrus.log().tail());
    // With virtdomains off imapd rejects users of other domains, and some names are invalid.
    cas.arm("PT-4-letters", "al*ice", &[PROXY]);
    assert!(!ticket(&cyrus, "PT-3-domain").ok);
    assert!(!ticket(&cyrus, "PT-4-letters").ok);
    let refused =
        |line: &test_support::syslog::Line| line.text.contains("reason=user_not_accepted");
    assert!(
        cyrus.log().wait_for(refused, PATIENCE).is_some(),
        "{}",
        cyrus.log().tail()
    );
}

#[test]
fn caspt_is_offered_only_under_tls_unless_plaintext_is_allowed() {
    let scratch = Scratch::new("tls");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let mut options = with(
        options(&scratch, &authority, &cas),
        &[("allowplaintext", "no")],
    );
    options.services = vec![Service::Imap, Service::Imaps];
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    let offers = |imap: &mut Imap| imap.capabilities().contains(&"AUTH=CASPT".to_owned());

    let mut imap = Imap::connect(cyrus.imap_port());
    assert!(!offers(&mut imap));
    assert!(!imap.authenticate("CASPT", b"\0\0PT-1-alice", &[]).ok);
    imap.starttls(&authority);
    assert!(offers(&mut imap));
    // Authentication works without an initial response as well as with one.
    let reply = imap.authenticate_by_challenge("CASPT", &[b"\0\0PT-1-alice"]);
    assert!(reply.ok, "{reply:?}");
    assert_eq!(reply.challenges, [b""]);

    let mut imap = Imap::connect_tls(cyrus.imaps_port(), &authority);
    assert!(offers(&mut imap));
    assert!(imap.authenticate("CASPT", b"\0\0PT-1-alice", &[]).ok);
    assert_eq!(cas.requests().len(), 1);
}

/// One process logs in three times after the state directory was broken by `break_it`: all logins
/// succeed by the memory tier, and the log names the remedy once.
fn assert_degrades(name: &str, remedy: &str, break_it: impl FnOnce(&Cyrus)) {
    let scratch = Scratch::new(name);
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let mut options = options(&scratch, &authority, &cas);
    options.reuse = 30;
    options.maxchild = 1;
    let mut cyrus = Cyrus::start(&scratch, &authority, options);
    cas.arm("PT-0-before", "alice", &[PROXY]);
    assert!(ticket(&cyrus, "PT-0-before").ok);
    cyrus.stop();
    break_it(&cyrus);
    scratch.give_to_cyrus(&cyrus.state_dir());
    cyrus.start_again();
    let mark = cyrus.log().mark();
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    for _ in 0..3 {
        let mut imap = Imap::connect(cyrus.imap_port());
        let reply = imap.authenticate("CASPT", b"\0\0PT-1-alice", &[]);
        assert!(reply.ok, "{name}: {reply:?}\n{}", cyrus.log().tail());
        imap.logout();
    }
    assert_eq!(cas.requests().len(), 2, "{name}");
    let lines = cyrus.log().since(mark);
    let faults = ["sessions are not shared", "all sessions are lost"];
    let is_fault = |text: &str| faults.iter().any(|fault| text.contains(fault));
    let errors: Vec<_> = lines.iter().filter(|line| is_fault(&line.text)).collect();
    assert_eq!(errors.len(), 1, "{name}: {}", cyrus.log().tail());
    assert_eq!(errors[0].level, level::ERR);
    assert!(
        errors[0].text.contains(remedy),
        "{name}: {}",
        errors[0].text
    );
}

/// The path of the session file.
fn session_file(cyrus: &Cyrus) -> std::path::PathBuf {
    let entries = std::fs::read_dir(cyrus.state_dir()).expect("the state directory");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let store = paths.find(|path| path.extension().is_some_and(|extension| extension == "mdb"));
    store.expect("the file of the sessions")
}

#[test]
fn logins_succeed_with_a_broken_state_directory_and_the_log_names_the_remedy() {
    assert_degrades("gone", "make it, owned by", |cyrus| {
        std::fs::remove_dir_all(cyrus.state_dir()).expect("removing it");
        std::fs::write(cyrus.state_dir(), "").expect("a file in its place");
        let conf = std::fs::read_to_string(cyrus.imapd_conf()).expect("imapd.conf");
        let conf = conf.replace("/state\n", "/state/missing\n");
        std::fs::write(cyrus.imapd_conf(), conf).expect("imapd.conf");
    });
    assert_degrades("file", "remove it", |cyrus| {
        std::fs::remove_dir_all(cyrus.state_dir()).expect("removing it");
        std::fs::write(cyrus.state_dir(), "").expect("a file in its place");
    });
    assert_degrades("open", "remove it with all that is in it", |cyrus| {
        test_support::scratch::set_mode(&cyrus.state_dir(), 0o777);
    });
    assert_degrades("readonly", "make its directory writable", |cyrus| {
        std::fs::remove_file(cyrus.state_dir().join("locks")).expect("removing the locks");
        test_support::scratch::set_mode(&cyrus.state_dir(), 0o500);
    });
    assert_degrades("foreign", "it was made anew", |cyrus| {
        std::fs::write(session_file(cyrus), vec![b'x'; 100_000]).expect("another file");
    });
    assert_degrades("damaged", "it was made anew", |cyrus| {
        // Overwrites everything after the first two pages, which describe the store.
        let store = session_file(cyrus);
        let mut bytes = std::fs::read(&store).expect("the file of the sessions");
        bytes[8_192..].fill(0x5a);
        std::fs::write(&store, bytes).expect("the file of the sessions");
    });
    assert_degrades("short", "it was made anew", |cyrus| {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(session_file(cyrus));
        file.and_then(|file| file.set_len(9_000))
            .expect("cutting it short");
    });
}

#[test]
fn invalid_configuration_is_logged_and_other_mechanisms_stay_available() {
    let scratch = Scratch::new("wrong");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let wrong = [
        ("sasl_caspt_timeout", "soon"),
        ("sasl_caspt_allow_direct", "maybe"),
    ];
    let options = with(options(&scratch, &authority, &cas), &wrong);
    let cyrus = Cyrus::start(&scratch, &authority, options);
    cyrus.sasl_user("bob", "secret");
    let mut imap = Imap::connect(cyrus.imap_port());
    assert!(!imap.capabilities().contains(&"AUTH=CASPT".to_owned()));
    assert!(imap.authenticate("PLAIN", b"\0bob\0secret", &[]).ok);
    for option in ["sasl_caspt_timeout: ", "sasl_caspt_allow_direct: "] {
        let line = cyrus
            .log()
            .wait_for(|line| line.text.contains(option), PATIENCE);
        assert_eq!(line.expect(option).level, level::ERR);
    }
}

#[test]
fn imtest_output_is_the_same_with_and_without_the_plugin() {
    let scratch = Scratch::new("imtest");
    let authority = Authority::new();
    let imtest = |plugin: Option<std::path::PathBuf>, name: &str| {
        let scratch = Scratch::new(name);
        let options = Options {
            plugin,
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        cyrus.sasl_user("bob", "secret");
        let mut command = scratch.command("/usr/lib/cyrus/bin/imtest");
        command
            .args(["-m", "PLAIN", "-a", "bob", "-w", "secret", "-p"])
            .args([&cyrus.imap_port().to_string(), "localhost"])
            .env("SASL_PATH", cyrus.plugin_dir());
        let printed = scratch.run("imtest", command, ". LOGOUT\n");
        let answers = printed.lines().filter(|line| !line.contains("SESSIONID"));
        let answers =
            answers.map(|line| line.split("server ready").next().unwrap_or(line).to_owned());
        let quiet = cyrus
            .log()
            .lines()
            .iter()
            .all(|line| !line.text.contains("sso"));
        (answers.collect::<Vec<_>>(), quiet)
    };
    let with = imtest(Some(test_support::libsasl2::plugin()), "imtest-with");
    let without = imtest(None, "imtest-without");
    assert_eq!(with, without);
    assert!(
        with.0.iter().any(|line| line.starts_with("S: ")),
        "{with:?}"
    );
    drop(scratch);
}

#[test]
fn tokens_up_to_the_limit_of_imapd_are_accepted() {
    let scratch = Scratch::new("long");
    let key = SigningKey::p256();
    let keys = scratch.write("key.pem", key.pem()).display().to_string();
    let lines = [
        ("sasl_mech_list", "OAUTHBEARER"),
        ("sasl_jwt_keys", keys.as_str()),
        ("sasl_jwt_issuer", "*"),
        ("sasl_jwt_audience", "*"),
    ];
    let options = Options {
        plugin: Some(test_support::libsasl2::plugin()),
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &Authority::new(), with(options, &lines));
    // A message of at most this many bytes.
    let message = |length: usize| {
        let with = |padding: usize| {
            let (iat, pad) = (now(), "x".repeat(padding));
            let claims = json!({"sub": "alice", "iat": iat, "exp": iat + 600, "pad": pad});
            oauthbearer(&key.token(r#"{"alg":"ES256"}"#, &claims.to_string()))
        };
        with((length - with(0).len()) / 4 * 3)
    };
    for (length, first) in [(21_847, true), (16_383, false)] {
        let message = message(length);
        assert!(length - message.len() < 8, "{}", message.len());
        let mut imap = Imap::connect(cyrus.imap_port());
        let reply = if first {
            imap.authenticate("OAUTHBEARER", &message, &[])
        } else {
            imap.authenticate_by_challenge("OAUTHBEARER", &[&message])
        };
        assert!(
            reply.ok,
            "{length}: {}\n{}",
            reply.status_line,
            cyrus.log().tail()
        );
    }
}
