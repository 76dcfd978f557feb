//! PLAIN of the plugin in the real libsasl2, beside the stock PLAIN. A credential in place of the
//! password is validated as with the other mechanisms; the host checks ordinary passwords.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use test_support::faulty_cas::Behaviour;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::valgrind::Valgrind;
use test_support::libsasl2::{Answer, Driver, code};
use test_support::mint::{SigningKey, now};
use test_support::plugin_dir;
use test_support::unix_server::UnixServer;

/// A saslauthd that accepts one password and records its requests.
struct PasswordServer {
    server: UnixServer,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

const PASSWORD: &[u8] = b"p\xe4ss.w\xf6rd PT-1";

impl PasswordServer {
    fn start(directory: &Path) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        let server = UnixServer::start(&directory.join("mux"), move |mut stream, _| {
            let mut request = vec![0; 16_384];
            let length = stream.read(&mut request).expect("cannot read the request");
            request.truncate(length);
            let is_good = request.windows(PASSWORD.len()).any(|part| part == PASSWORD);
            let answer = if is_good { b"\0\x02OK" } else { b"\0\x02NO" };
            recorded
                .lock()
                .expect("the mutex is poisoned")
                .push(request);
            let _ = stream.write_all(answer);
        });
        Self { server, requests }
    }

    fn mux(&self) -> String {
        self.server.path().display().to_string()
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().expect("the mutex is poisoned").clone()
    }
}

/// A driver that offers PLAIN, with a server that checks ordinary passwords.
struct PlainEnv {
    // Stopped before its directory is removed.
    passwords: PasswordServer,
    sasl: Site,
}

impl PlainEnv {
    fn new(name: &str) -> Self {
        let sasl = Site::new(name);
        let passwords = PasswordServer::start(sasl.scratch.path());
        Self { passwords, sasl }
    }

    fn driver(&self, other: &[(&str, &str)]) -> Driver {
        let mux = self.passwords.mux();
        let mut options = other.to_vec();
        // The first value of an option counts.
        options.extend([
            ("sso_plain", "yes"),
            ("pwcheck_method", "saslauthd"),
            ("saslauthd_path", &mux),
        ]);
        self.sasl.driver(&options)
    }
}

fn plain(driver: &mut Driver, message: &[u8]) -> Answer {
    driver.ask(&format!(
        "login PLAIN {}",
        test_support::libsasl2::hex(message)
    ))
}

#[test]
fn ticket_sent_by_plain_shares_its_session_with_caspt() {
    let env = PlainEnv::new("plain");
    let cas = &env.sasl.cas;
    let mut driver = env.driver(&[]);
    // libsasl2 2.1.27 lists them in another order.
    let mut offered = driver.ask("list").last;
    offered.sort();
    assert_eq!(offered, ["CASPT", "PLAIN", "mechs"]);
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    let answer = plain(&mut driver, b"\0alice\0PT-1-alice");
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    assert_eq!(answer.field("service").as_deref(), Some("imap://localhost"));
    assert_eq!(driver.ticket("PT-1-alice").code(), code::OK);
    // As with CASPT, the ticket determines the user, and the client's user name must match.
    assert_eq!(plain(&mut driver, b"\0\0PT-1-alice").code(), code::OK);
    let answer = plain(&mut driver, b"\0bob\0PT-1-alice");
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(answer.reason(), "user_mismatch");
    assert_eq!(cas.requests().len(), 1);
    assert_eq!(env.passwords.requests().len(), 0);
}

#[test]
fn ordinary_password_reaches_the_host_unchanged_and_unlogged() {
    let env = PlainEnv::new("ordinary");
    let mut driver = env.driver(&[]);
    let answer = plain(&mut driver, &[b"\0alice\0", PASSWORD].concat());
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    let answer = plain(&mut driver, b"\0alice\0wrong");
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(answer.field("outcome"), None);
    assert_eq!(plain(&mut driver, b"\0\0wrong").code(), code::BADPROT);
    let requests = env.passwords.requests();
    assert_eq!(requests.len(), 2);
    let expected = [b"\0\x05alice\0\x0e", PASSWORD, b"\0\x04imap\0\0"].concat();
    assert_eq!(requests[0], expected);
    assert_eq!(env.sasl.cas.connections(), 0);
}

#[test]
fn refused_credential_is_never_tried_as_a_password() {
    let env = PlainEnv::new("refused");
    let key = SigningKey::p256();
    let keys = env.sasl.scratch.write("keys.pem", key.pem());
    let mut driver = env.driver(&[
        ("jwt_keys", &keys.display().to_string()),
        ("jwt_issuer", "*"),
        ("jwt_audience", "*"),
    ]);
    let claims = |time: u64| format!(r#"{{"sub":"alice","iat":{},"exp":{time}}}"#, now() - 60);
    let good = key.token(r#"{"alg":"ES256"}"#, &claims(now() + 600));
    let answer = plain(&mut driver, format!("\0alice\0{good}").as_bytes());
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    let expired = key.token(r#"{"alg":"ES256"}"#, &claims(now() - 50));
    let foreign = SigningKey::p256().token(r#"{"alg":"ES256"}"#, &claims(now() + 600));
    let long = format!("PT-{}", "x".repeat(300));
    for (password, reason) in [
        ("PT-1-unknown", "ticket_refused"),
        ("ST-1-unknown", "ticket_refused"),
        (&long, "ticket_malformed"),
        (&expired, "token_expired"),
        (&foreign, "signature_wrong"),
        (&format!("{good}x"), "token_malformed"),
        (&format!("{good}.x.y"), "token_malformed"),
        (&format!("{good}\n"), "token_malformed"),
        (" PT-1-unknown", "ticket_malformed"),
        ("eyJhbGciOiJub25lIn0.e30.", "algorithm_not_allowed"),
        ("eyJhbGciOiJub25lIn0..", "token_malformed"),
        // Other secrets of CAS, and credentials inside other text.
        ("PGT-1-unknown", "ticket_malformed"),
        ("PGTIOU-1-unknown", "ticket_malformed"),
        ("TGT-1-unknown", "ticket_malformed"),
        ("LT-1-unknown", "ticket_malformed"),
        ("\"PT-1-unknown\"", "ticket_malformed"),
        ("ticket=PT-1-Xq3fWmZ0pLr8sVtu", "ticket_malformed"),
        (&format!("\"{good}\""), "token_malformed"),
        (&format!("\u{feff}{good}"), "token_malformed"),
        (&format!("{good}\u{a0}"), "token_malformed"),
        (&format!("Bearer {good}"), "token_malformed"),
        (&format!("access_token={good}"), "token_malformed"),
        (
            &format!("{{\"access_token\":\"{good}\"}}"),
            "token_malformed",
        ),
        (
            &format!("user=alice\x01auth=Bearer {good}\x01\x01"),
            "token_malformed",
        ),
        (
            &format!("n,a=alice,\x01host=mail\x01auth=Bearer {good}\x01\x01"),
            "token_malformed",
        ),
        (
            "user=alice\x01auth=Bearer opaque\x01\x01",
            "token_malformed",
        ),
    ] {
        let answer = plain(&mut driver, format!("\0alice\0{password}").as_bytes());
        assert_eq!(answer.reason(), reason, "{password}");
        let is_failure = [code::BADAUTH, code::BADPROT].contains(&answer.code());
        assert!(is_failure, "{password}: {answer:?}");
        // PLAIN has no challenge with details.
        assert_eq!(answer.steps.len(), 1);
    }
    env.sasl.cas.set(Behaviour::Answer("no CAS".to_owned()));
    let answer = plain(&mut driver, b"\0alice\0PT-2-outage");
    assert_eq!(answer.code(), code::UNAVAIL);
    assert_eq!(env.passwords.requests().len(), 0);
}

#[test]
fn valgrind_reports_no_read_beyond_a_plain_message() {
    let env = PlainEnv::new("valgrind");
    let valgrind = Valgrind::new(&env.sasl.scratch);
    // With a realm, libsasl2 itself looks for the end of a name.
    let wrapper = [&["env", "SSO_TEST_REALM=univ.fr"], &valgrind.words()[..]].concat();
    let mux = env.passwords.mux();
    let options = [
        ("sso_plain", "yes"),
        ("pwcheck_method", "saslauthd"),
        ("saslauthd_path", &mux),
        ("caspt_timeout", "60"),
        // libsasl2 appends the realm.
        ("sso_host_names", "domain"),
    ];
    let mut driver = env.sasl.driver_under(&wrapper, &options);
    // The name fills the memory that is allocated for it.
    let user = "alice-of-16-byte";
    env.sasl.cas.arm("PT-1-alice", user, &[PROXY]);
    for message in ["\0\0PT-1-alice", "\0alice-of-16-byte\0PT-1-alice"] {
        let answer = plain(&mut driver, message.as_bytes());
        assert_eq!(answer.authid(), "alice-of-16-byte@univ.fr", "{answer:?}");
    }
    let ordinary = [b"\0alice-of-16-byte\0", PASSWORD].concat();
    assert_eq!(plain(&mut driver, &ordinary).code(), code::OK);
    assert_eq!(driver.ask("fuzz PLAIN 20000 4711").last, ["fuzz", "0"]);
    valgrind.assert_nothing_wrong(driver);
}

#[test]
fn token_without_token_options_is_an_ordinary_password() {
    let env = PlainEnv::new("tokenless");
    let mut driver = env.driver(&[]);
    let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    let answer = plain(&mut driver, format!("\0alice\0{token}").as_bytes());
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(env.passwords.requests().len(), 1);
}

#[test]
fn plain_of_the_plugin_takes_precedence_in_any_load_order() {
    let env = PlainEnv::new("order");
    let directory = env.sasl.kit.directory();
    // libsasl2 loads plugins in the order of the directory, where each name has its own position.
    for name in 'a'..='p' {
        plugin_dir::fill(directory, &["libplain.so"], None);
        let other = directory.join(format!("lib{name}.so"));
        std::fs::rename(directory.join("libplain.so"), other)
            .expect("cannot rename the stock plugin");
    }
    let listing = std::fs::read_dir(directory).expect("cannot list the plugins");
    let names: Vec<String> = listing
        .map(|entry| {
            entry
                .expect("cannot list the plugins")
                .file_name()
                .display()
                .to_string()
        })
        .collect();
    let position = names
        .iter()
        .position(|name| name == "libsso.so")
        .expect("the plugin is not in its directory");
    assert!(
        position > 0 && position + 1 < names.len(),
        "the plugin is loaded first or last: {names:?}"
    );
    env.sasl.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let mut driver = env.driver(&[]);
    let answer = plain(&mut driver, b"\0alice\0PT-1-alice");
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    // Without the option, the stock plugin alone implements PLAIN.
    let mut driver = env.driver(&[("sso_plain", "no")]);
    assert_eq!(
        plain(&mut driver, b"\0alice\0PT-1-alice").code(),
        code::BADAUTH
    );
    assert_eq!(env.passwords.requests().len(), 1);
}

#[test]
fn rate_limit_does_not_affect_cached_tickets_or_other_clients() {
    let site = Site::new("stranger");
    site.cas.arm("PT-1-cached", "alice", &[PROXY]);
    let mut driver = site.driver(&[("caspt_rate_limit", "5")]);
    assert_eq!(driver.ticket("PT-1-cached").code(), code::OK);
    for number in 0..20 {
        let answer = driver.ticket(&format!("PT-{number}-invented"));
        let expected = match number {
            0..5 => (code::BADAUTH, "ticket_refused"),
            _ => (code::UNAVAIL, "budget_spent"),
        };
        assert_eq!((answer.code(), answer.reason().as_str()), expected);
        // Cached results, good or bad, are not counted.
        assert_eq!(driver.ticket("PT-1-cached").code(), code::OK);
        assert_eq!(driver.ticket("PT-0-invented").reason(), "ticket_refused");
    }
    assert_eq!(site.cas.requests().len(), 6);
    // Tickets that a firewall in front of CAS rejects are counted too.
    let from = ["env", "SSO_TEST_REMOTE=198.51.100.1;1"];
    let mut other = site.driver_under(&from, &[("caspt_rate_limit", "5")]);
    site.cas.set(Behaviour::Answer("no CAS".to_owned()));
    for number in 0..20 {
        let answer = other.ticket(&format!("PT-{number}-<script>"));
        let expected = if number < 5 {
            "reply_unusable"
        } else {
            "budget_spent"
        };
        assert_eq!(answer.reason(), expected);
    }
    site.cas.set(Behaviour::Tickets);
    // Other clients are counted separately, and good tickets are not counted.
    let from = ["env", "SSO_TEST_REMOTE=192.0.2.7;4711"];
    let mut webmail = site.driver_under(&from, &[("caspt_rate_limit", "5")]);
    for number in 0..20 {
        let ticket = format!("PT-{number}-good");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        let answer = webmail.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
    }
}
