//! PLAIN of the plugin in the real libsasl2, beside the stock one: a credential where the password
//! would be is decided on as everywhere, an ordinary password is the host's business.

// clippy sees no tests outside of #[test] functions.
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

/// Who checks passwords for the host: a saslauthd that takes one password of alice's and keeps
/// what it was asked.
struct PasswordServer {
    server: UnixServer,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

const PASSWORD: &[u8] = b"p\xe4ss.w\xf6rd PT-1";

impl PasswordServer {
    fn start(directory: &Path) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let server = UnixServer::start(&directory.join("mux"), move |mut stream, _| {
            let mut request = vec![0; 16_384];
            let length = stream.read(&mut request).expect("a request");
            request.truncate(length);
            let is_good = request.windows(PASSWORD.len()).any(|part| part == PASSWORD);
            let answer = if is_good { b"\0\x02OK" } else { b"\0\x02NO" };
            kept.lock().expect("the requests").push(request);
            let _ = stream.write_all(answer);
        });
        Self { server, requests }
    }

    fn mux(&self) -> String {
        self.server.path().display().to_string()
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().expect("the requests").clone()
    }
}

/// A site with PLAIN, whose passwords are checked by a password server.
struct PlainSite {
    // Ended before its directory.
    passwords: PasswordServer,
    site: Site,
}

impl PlainSite {
    fn new(name: &str) -> Self {
        let site = Site::new(name);
        let passwords = PasswordServer::start(site.scratch.path());
        Self { site, passwords }
    }

    fn driver(&self, other: &[(&str, &str)]) -> Driver {
        let mux = self.passwords.mux();
        let mut options = other.to_vec();
        // The first one counts.
        options.extend([
            ("sso_plain", "yes"),
            ("pwcheck_method", "saslauthd"),
            ("saslauthd_path", &mux),
        ]);
        self.site.driver(&options)
    }
}

fn plain(driver: &mut Driver, message: &[u8]) -> Answer {
    driver.ask(&format!(
        "login PLAIN {}",
        test_support::libsasl2::hex(message)
    ))
}

#[test]
fn a_ticket_may_be_the_password_and_is_the_session_of_caspt() {
    let plain_site = PlainSite::new("plain");
    let cas = &plain_site.site.cas;
    let mut driver = plain_site.driver(&[]);
    // libsasl2 2.1.27 has them in another order.
    let mut offered = driver.ask("list").last;
    offered.sort();
    assert_eq!(offered, ["CASPT", "PLAIN", "mechs"]);
    cas.arm("PT-1-alice", "alice", &[PROXY]);
    let answer = plain(&mut driver, b"\0alice\0PT-1-alice");
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    assert_eq!(answer.field("service").as_deref(), Some("imap://localhost"));
    assert_eq!(driver.ticket("PT-1-alice").code(), code::OK);
    // And as with CASPT, the ticket names the user, and must be the user's.
    assert_eq!(plain(&mut driver, b"\0\0PT-1-alice").code(), code::OK);
    let answer = plain(&mut driver, b"\0bob\0PT-1-alice");
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(answer.reason(), "user_mismatch");
    assert_eq!(cas.requests().len(), 1);
    assert_eq!(plain_site.passwords.requests().len(), 0);
}

#[test]
fn an_ordinary_password_goes_to_the_host_byte_for_byte_and_without_a_word() {
    let plain_site = PlainSite::new("ordinary");
    let mut driver = plain_site.driver(&[]);
    let answer = plain(&mut driver, &[b"\0alice\0", PASSWORD].concat());
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    let answer = plain(&mut driver, b"\0alice\0wrong");
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(answer.field("outcome"), None);
    assert_eq!(plain(&mut driver, b"\0\0wrong").code(), code::BADPROT);
    let asked = plain_site.passwords.requests();
    assert_eq!(asked.len(), 2);
    let expected = [b"\0\x05alice\0\x0e", PASSWORD, b"\0\x04imap\0\0"].concat();
    assert_eq!(asked[0], expected);
    assert_eq!(plain_site.site.cas.connections(), 0);
}

#[test]
fn what_is_refused_as_a_credential_is_never_tried_as_a_password() {
    let plain_site = PlainSite::new("refused");
    let key = SigningKey::p256();
    let keys = plain_site.site.scratch.write("keys.pem", key.pem());
    let mut driver = plain_site.driver(&[
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
        // Other secrets of CAS, and credentials with something around them.
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
        // PLAIN has no challenge that could say more.
        assert_eq!(answer.steps.len(), 1);
    }
    plain_site
        .site
        .cas
        .set(Behaviour::Answer("no CAS".to_owned()));
    let answer = plain(&mut driver, b"\0alice\0PT-2-outage");
    assert_eq!(answer.code(), code::UNAVAIL);
    assert_eq!(plain_site.passwords.requests().len(), 0);
}

#[test]
fn whatever_the_message_the_host_reads_nothing_beyond_it() {
    let plain_site = PlainSite::new("valgrind");
    let valgrind = Valgrind::new(&plain_site.site.scratch);
    // With a realm libsasl2 looks for the end of a name by itself.
    let wrapper = [&["env", "SSO_TEST_REALM=univ.fr"], &valgrind.words()[..]].concat();
    let mux = plain_site.passwords.mux();
    let options = [
        ("sso_plain", "yes"),
        ("pwcheck_method", "saslauthd"),
        ("saslauthd_path", &mux),
        ("caspt_timeout", "60"),
        // libsasl2 appends the realm.
        ("sso_host_names", "domain"),
    ];
    let mut driver = plain_site.site.driver_under(&wrapper, &options);
    // Of a length that fills what is allocated for it.
    let user = "alice-of-16-byte";
    plain_site.site.cas.arm("PT-1-alice", user, &[PROXY]);
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
fn what_is_not_configured_is_no_credential() {
    let plain_site = PlainSite::new("tokenless");
    let mut driver = plain_site.driver(&[]);
    let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
    let answer = plain(&mut driver, format!("\0alice\0{token}").as_bytes());
    assert_eq!(answer.code(), code::BADAUTH);
    assert_eq!(plain_site.passwords.requests().len(), 1);
}

#[test]
fn ours_goes_before_the_stock_one_in_whatever_order_they_are_loaded() {
    let plain_site = PlainSite::new("order");
    let directory = plain_site.site.kit.directory();
    // libsasl2 loads in the order of the directory, in which each name has a place of its own.
    for name in 'a'..='p' {
        plugin_dir::fill(directory, &["libplain.so"], None);
        let other = directory.join(format!("lib{name}.so"));
        std::fs::rename(directory.join("libplain.so"), other).expect("a stock plugin");
    }
    let listing = std::fs::read_dir(directory).expect("the plugins");
    let names: Vec<String> = listing
        .map(|entry| entry.expect("a plugin").file_name().display().to_string())
        .collect();
    let ours = names
        .iter()
        .position(|name| name == "libsso.so")
        .expect("ours");
    assert!(
        ours > 0 && ours + 1 < names.len(),
        "nothing is shown: {names:?}"
    );
    plain_site.site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    let mut driver = plain_site.driver(&[]);
    let answer = plain(&mut driver, b"\0alice\0PT-1-alice");
    assert_eq!((answer.code(), answer.authid()), (code::OK, "alice"));
    // Without the option the stock one is the only one.
    let mut driver = plain_site.driver(&[("sso_plain", "no")]);
    assert_eq!(
        plain(&mut driver, b"\0alice\0PT-1-alice").code(),
        code::BADAUTH
    );
    assert_eq!(plain_site.passwords.requests().len(), 1);
}

#[test]
fn a_stranger_with_tickets_of_his_own_making_stops_nobody_who_is_in() {
    let site = Site::new("stranger");
    site.cas.arm("PT-1-known", "alice", &[PROXY]);
    let mut driver = site.driver(&[("caspt_rate_limit", "5")]);
    assert_eq!(driver.ticket("PT-1-known").code(), code::OK);
    for number in 0..20 {
        let answer = driver.ticket(&format!("PT-{number}-invented"));
        let expected = match number {
            0..5 => (code::BADAUTH, "ticket_refused"),
            _ => (code::UNAVAIL, "budget_spent"),
        };
        assert_eq!((answer.code(), answer.reason().as_str()), expected);
        // What is known, good or bad, is not counted.
        assert_eq!(driver.ticket("PT-1-known").code(), code::OK);
        assert_eq!(driver.ticket("PT-0-invented").reason(), "ticket_refused");
    }
    assert_eq!(site.cas.requests().len(), 6);
    // Nor does he get on by tickets that what stands before CAS does not let through.
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
    // Another client is another matter, and good tickets spend nothing.
    let from = ["env", "SSO_TEST_REMOTE=192.0.2.7;4711"];
    let mut webmail = site.driver_under(&from, &[("caspt_rate_limit", "5")]);
    for number in 0..20 {
        let ticket = format!("PT-{number}-good");
        site.cas.arm(&ticket, "alice", &[PROXY]);
        let answer = webmail.ticket(&ticket);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
    }
}
