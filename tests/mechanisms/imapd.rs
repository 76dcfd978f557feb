//! The shipped plugin in the real imapd: what its users and its administrator see.

// clippy sees no tests outside of #[test] functions.
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

/// Options of a Cyrus whose CAS is `cas`; each connection gets a process of its own.
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
fn sessions_survive_imapds_processes_a_sighup_and_a_restart() {
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
fn sessions_end_when_they_are_not_used_and_when_their_time_is_over() {
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
    // What its client sees is that CAS takes a ticket once.
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
fn an_outage_is_told_as_one_and_known_sessions_go_on() {
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
fn an_imapd_that_waits_for_cas_ends_when_it_is_told_to() {
    let scratch = Scratch::new("term");
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let patient = [("sasl_caspt_timeout", "30")];
    let options = with(options(&scratch, &authority, &cas), &patient);
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
    // And not when CAS had its 30 seconds.
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
fn a_refusal_has_its_reason_in_the_log_and_none_for_the_client() {
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
        let told = format!(
            "{}{}",
            String::from_utf8_lossy(&reply.challenges[0]),
            reply.status_line
        );
        assert!(told.contains(status), "{told}");
        for secret in [reason, "alice", "evil"] {
            assert!(!told.contains(secret), "{told}");
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
fn names_are_compared_as_imapd_writes_them_and_acting_as_another_is_imapds_to_allow() {
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
    // With virtdomains off imapd lets nobody of another domain in, and some names it cannot take.
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
fn no_ticket_goes_over_the_wire_in_clear_text_unless_the_administrator_says_so() {
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
    // Without an initial response as well as with one.
    let reply = imap.authenticate_by_challenge("CASPT", &[b"\0\0PT-1-alice"]);
    assert!(reply.ok, "{reply:?}");
    assert_eq!(reply.challenges, [b""]);

    let mut imap = Imap::connect_tls(cyrus.imaps_port(), &authority);
    assert!(offers(&mut imap));
    assert!(imap.authenticate("CASPT", b"\0\0PT-1-alice", &[]).ok);
    assert_eq!(cas.requests().len(), 1);
}

/// One process logs in three times by a state directory that was broken in some way: all three
/// go well by its own memory, and the log names the remedy once.
fn degrades(name: &str, remedy: &str, break_it: impl FnOnce(&Cyrus)) {
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
    let troubles = ["sessions are not shared", "all sessions are lost"];
    let is_trouble = |text: &str| troubles.iter().any(|trouble| text.contains(trouble));
    let errors: Vec<_> = lines.iter().filter(|line| is_trouble(&line.text)).collect();
    assert_eq!(errors.len(), 1, "{name}: {}", cyrus.log().tail());
    assert_eq!(errors[0].level, level::ERR);
    assert!(
        errors[0].text.contains(remedy),
        "{name}: {}",
        errors[0].text
    );
}

/// The file of the sessions.
fn store(cyrus: &Cyrus) -> std::path::PathBuf {
    let entries = std::fs::read_dir(cyrus.state_dir()).expect("the state directory");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let store = paths.find(|path| path.extension().is_some_and(|extension| extension == "mdb"));
    store.expect("the file of the sessions")
}

#[test]
fn with_a_broken_state_directory_logins_go_on_and_the_log_names_the_remedy() {
    degrades("gone", "make it, owned by", |cyrus| {
        std::fs::remove_dir_all(cyrus.state_dir()).expect("removing it");
        std::fs::write(cyrus.state_dir(), "").expect("a file in its place");
        let conf = std::fs::read_to_string(cyrus.imapd_conf()).expect("imapd.conf");
        let conf = conf.replace("/state\n", "/state/missing\n");
        std::fs::write(cyrus.imapd_conf(), conf).expect("imapd.conf");
    });
    degrades("file", "remove it", |cyrus| {
        std::fs::remove_dir_all(cyrus.state_dir()).expect("removing it");
        std::fs::write(cyrus.state_dir(), "").expect("a file in its place");
    });
    degrades("open", "remove it with all that is in it", |cyrus| {
        test_support::scratch::set_mode(&cyrus.state_dir(), 0o777);
    });
    degrades("readonly", "make its directory writable", |cyrus| {
        std::fs::remove_file(cyrus.state_dir().join("locks")).expect("removing the locks");
        test_support::scratch::set_mode(&cyrus.state_dir(), 0o500);
    });
    degrades("foreign", "it was made anew", |cyrus| {
        std::fs::write(store(cyrus), vec![b'x'; 100_000]).expect("another file");
    });
    degrades("damaged", "it was made anew", |cyrus| {
        // All but what describes the store: the first two pages.
        let store = store(cyrus);
        let mut bytes = std::fs::read(&store).expect("the file of the sessions");
        bytes[8_192..].fill(0x5a);
        std::fs::write(&store, bytes).expect("the file of the sessions");
    });
    degrades("short", "it was made anew", |cyrus| {
        let file = std::fs::OpenOptions::new().write(true).open(store(cyrus));
        file.and_then(|file| file.set_len(9_000))
            .expect("cutting it short");
    });
}

#[test]
fn a_wrong_configuration_is_logged_as_an_error_and_the_other_mechanisms_go_on() {
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
fn imtest_prints_what_it_prints_without_the_plugin() {
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
        let told = printed.lines().filter(|line| !line.contains("SESSIONID"));
        let told = told.map(|line| line.split("server ready").next().unwrap_or(line).to_owned());
        let quiet = cyrus
            .log()
            .lines()
            .iter()
            .all(|line| !line.text.contains("sso"));
        (told.collect::<Vec<_>>(), quiet)
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
fn tokens_are_taken_up_to_what_imapd_takes() {
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
    // A message of at most so many bytes.
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
