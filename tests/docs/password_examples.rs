//! The examples for clients that can only send a password, used with only the host names and paths
//! changed. The example for Postfix is tested in `postfix_takes_what_imapd_takes.rs`.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::json;
use test_support::authority::Authority;
use test_support::cyrus::Service;
use test_support::documents::Kind;
use test_support::examples;
use test_support::key_server::KeyServer;
use test_support::libsasl2::token_site::named;
use test_support::mint::{SigningKey, now};
use test_support::password_clients::{PasswordClient as Client, Way};
use test_support::password_site::{IMAP, Names, PasswordEnv, SECRET};
use test_support::php_webmail::Mailbox;
use test_support::scratch::Scratch;

/// Clients of which each login has its password checked once.
const LOGINS: [(Client, Service, Way); 4] = [
    (Client::Imaplib, Service::Imap, Way::Command),
    (Client::Imaplib, Service::Imap, Way::Plain),
    (Client::Poplib, Service::Pop3, Way::Command),
    (Client::Sieve, Service::Sieve, Way::Plain),
];

/// The issuer in the example.
const KEYCLOAK: &str = "https://sso.univ.example/realms/univ";

/// The options of an example, with the names of the test environment.
fn lines(example: &str, names: &Names, issuer: &str) -> Vec<(String, String)> {
    let here = |value: &str| with_local_names(value, names).replace(KEYCLOAK, issuer);
    let mut lines: Vec<_> = examples::lines(example)
        .into_iter()
        .map(|(key, value)| (key, here(&value)))
        .collect();
    lines.push(("sasl_caspt_ca_file".to_owned(), names.ca.clone()));
    lines
}

fn with_local_names(text: &str, names: &Names) -> String {
    text.replace("https://cas.univ.example/cas", &names.cas)
        .replace("https://webmail.univ.example/", &names.webmail)
        .replace("mail.univ.example", "localhost")
        .replace("/run/sasl-sso/mux", &names.mux)
        .replace("/run/saslauthd/mux", &names.fallback)
}

#[test]
fn passwords_conf_accepts_tickets_tokens_and_passwords_of_every_client() {
    let authority = Authority::new();
    let issuer = KeyServer::start(&authority);
    let key = SigningKey::p256();
    issuer.set_keys(&[named(&key, "k1")]);
    let issuer_files = Scratch::new("issuer");
    let ca = authority.write_ca(&issuer_files).display().to_string();
    let site = PasswordEnv::start("passwords", |names| {
        let mut lines = lines("passwords.conf", names, &issuer.issuer());
        lines.push(("sasl_jwt_ca_file".to_owned(), ca));
        lines
    })
    .with_daemon();
    let token = |padding: usize| {
        let claims = json!({
            "iss": issuer.issuer(), "aud": "imap.univ.example", "sub": "7a0c1b9a",
            "preferred_username": "alice", "iat": now(), "exp": now() + 600,
            "groups": "x".repeat(padding),
        });
        key.token(
            r#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#,
            &claims.to_string(),
        )
    };
    let (long, too_long) = (token(5_700), token(5_900));
    assert!(long.len() > 7_900 && long.len() < 8_000, "{}", long.len());
    assert!(too_long.len() > 8_200, "{}", too_long.len());

    let webmail = site.webmail.log_in("alice");
    let ticket = webmail.fetch_ticket(IMAP);
    for service in [Service::Imap, Service::Imaps, Service::Pop3] {
        let opened = webmail.open(&Mailbox::of(&site.cyrus, service));
        assert!(opened.opened, "{opened:?}\n{}", site.cyrus.log().tail());
    }
    // The limit of the saslauthd protocol does not apply to mechanisms that check passwords in the
    // process.
    for (by, in_process) in [
        ((Client::Imaplib, Service::Imap, Way::Command), false),
        ((Client::Imaplib, Service::Imap, Way::Plain), true),
        ((Client::Poplib, Service::Pop3, Way::Command), false),
        ((Client::Poplib, Service::Pop3, Way::Plain), true),
        ((Client::Sieve, Service::Sieve, Way::Plain), true),
        ((Client::Curl, Service::Http, Way::Command), false),
    ] {
        for (password, is_good) in [
            (ticket.as_str(), true),
            (SECRET, true),
            (long.as_str(), true),
            (too_long.as_str(), in_process),
            ("a-wrong-one", false),
        ] {
            let outcome = site.log_in(by, password);
            let context = || {
                format!(
                    "{by:?}\n{}\n{}",
                    outcome.transcript,
                    site.cyrus.log().tail()
                )
            };
            assert_eq!(outcome.logged_in, is_good, "{}", context());
        }
    }
    assert_eq!(site.cas.validations(), 1, "{:?}", site.cas.access_log());
}

/// The option that undoes the migration, from its documentation.
fn option_that_undoes_the_migration() -> (String, String) {
    let blocks = test_support::documents::page("docs/migration.md")
        .blocks
        .into_iter();
    let wanted = Kind::Conf("way-back".to_owned(), String::new());
    let mut back = blocks.filter(|block| block.kind == wanted);
    let lines = back.next().expect("a way back").settings();
    assert_eq!(lines.len(), 1, "a single line undoes the migration");
    lines.into_iter().next().expect("a line")
}

#[test]
fn from_pam_cas_conf_migrates_and_can_be_undone() {
    let (mut there, mut back) = (Vec::new(), option_that_undoes_the_migration());
    // The original configuration without pam_cas: imapd has passwords checked by saslauthd.
    let mut site = PasswordEnv::start("pam_cas", |names| {
        there = lines("from-pam_cas.conf", names, "");
        back.1 = with_local_names(&back.1, names);
        assert_eq!(back.1, names.fallback);
        let method = there.iter().find(|(key, _)| key == "sasl_pwcheck_method");
        vec![method.expect("a method").clone(), back.clone()]
    });
    let webmail = site.webmail.log_in("alice");
    let ticket = webmail.fetch_ticket(IMAP);
    let mut asked = 0;
    let mut passwords_work = |site: &PasswordEnv, times: usize| {
        for by in LOGINS {
            let outcome = site.log_in(by, SECRET);
            assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
            assert!(!site.log_in(by, "a-wrong-one").logged_in);
        }
        asked += 2 * LOGINS.len() + times;
        site.fallback.assert_asked(asked);
    };
    // Without the daemon, tickets are sent to saslauthd, which rejects them.
    let assert_tickets_are_rejected = |site: &PasswordEnv| {
        for by in LOGINS {
            assert!(!site.log_in(by, &ticket).logged_in);
        }
        LOGINS.len()
    };
    let refused = assert_tickets_are_rejected(&site);
    passwords_work(&site, refused);

    set(&site, &there);
    site.cyrus.restart();
    let mut site = site.with_daemon();
    for _ in 0..2 {
        for by in LOGINS {
            let outcome = site.log_in(by, &ticket);
            assert!(
                outcome.logged_in,
                "{by:?}\n{}\n{}",
                outcome.transcript,
                site.cyrus.log().tail()
            );
        }
    }
    let webmail = site.webmail.log_in("bert");
    let imap = Mailbox::of(&site.cyrus, Service::Imap);
    let opened = webmail.service_mail(IMAP, &imap);
    assert!(opened.opened, "{opened:?}");
    assert_eq!(site.cas.validations(), 2, "{:?}", site.cas.access_log());
    // Step 3 of the documentation: the line in the log.
    site.logged(0, &["sso: mech=saslauthd ", " outcome=accepted user=alice"]);
    passwords_work(&site, 0);

    set(&site, &[back]);
    site.cyrus.restart();
    site.daemon = None;
    let refused = assert_tickets_are_rejected(&site);
    passwords_work(&site, refused);
}

/// Sets options in imapd.conf, replacing those of the same names.
fn set(site: &PasswordEnv, lines: &[(String, String)]) {
    let path = site.cyrus.imapd_conf();
    let old = std::fs::read_to_string(&path).expect("imapd.conf");
    let is_replaced = |line: &&str| {
        lines
            .iter()
            .any(|(key, _)| line.starts_with(&format!("{key}:")))
    };
    let kept = old
        .lines()
        .filter(|line| !is_replaced(line))
        .map(|line| format!("{line}\n"));
    let new = lines.iter().map(|(key, value)| format!("{key}: {value}\n"));
    std::fs::write(path, kept.chain(new).collect::<String>()).expect("imapd.conf");
}
