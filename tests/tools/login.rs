//! `sasl-sso login` and a real mail server: what it shows, and what it never does.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use crate::login_site::{Answer, SERVICE, Site};
use serde_json::Value;
use test_support::authority::Authority;
use test_support::cyrus::Service;
use test_support::mint::{SigningKey, now};

const TICKET: &str = "CASPT";
const TOKEN: &str = "OAUTHBEARER";

/// Every way in, with the credential that it is for. IMAP makes the INBOX that POP3 needs.
const WAYS: &[(Service, &str, bool)] = &[
    (Service::Imap, TICKET, true),
    (Service::Imap, TOKEN, false),
    (Service::Imap, "XOAUTH2", false),
    (Service::Imap, "PLAIN", true),
    (Service::Imap, "PLAIN", false),
    (Service::Imap, "LOGIN", true),
    (Service::Imaps, TICKET, true),
    (Service::Imaps, TOKEN, false),
    (Service::Pop3, TICKET, true),
    (Service::Pop3, TOKEN, false),
    (Service::Pop3, "XOAUTH2", false),
    (Service::Pop3, "PLAIN", true),
    (Service::Pop3, "LOGIN", true),
    (Service::Sieve, TICKET, true),
    (Service::Sieve, TOKEN, false),
    (Service::Sieve, "XOAUTH2", false),
    (Service::Sieve, "PLAIN", true),
];

#[test]
fn every_way_in_works_and_the_second_login_shows_the_session() {
    let site = Site::new("ways", &[]);
    let mut tickets = 0;
    for (service, mechanism, is_ticket) in WAYS.iter().copied() {
        let credential = match is_ticket {
            true => site.ticket(),
            false => site.token(),
        };
        let mark = site.cyrus.log().mark();
        let asked = ["--mechanism", mechanism, "--user", "alice"];
        let answer = site.login(service, &asked, &format!("{credential}\n"));
        let by = format!("{service:?} {mechanism}");
        assert_eq!(
            answer.status,
            Some(0),
            "{by}: {answer:?}\n{}",
            site.cyrus.log().tail()
        );
        answer.hides(&credential).says(&[
            "1 first",
            "the certificate is good for localhost",
            "under TLS the server offers PLAIN, CASPT, OAUTHBEARER, XOAUTH2",
            "bytes, sha256 ",
            "2 again",
            "outcome",
            "1 first",
            "logged in",
            "2 again",
            "logged in",
        ]);
        let sources = site.sources(mark, 2);
        assert_eq!(sources[0], "validated", "{by}");
        assert!(["host", "memory"].contains(&sources[1].as_str()), "{by}");
        tickets += usize::from(is_ticket);
        assert_eq!(site.cas.validations(), tickets, "{by}");
    }
    // timsieved 3.6.1 crashes if who has logged in goes without a word.
    let crashed = |line: &test_support::syslog::Line| line.text.contains("signaled to death");
    let lines = site.cyrus.log().lines();
    assert!(!lines.iter().any(crashed), "{}", site.cyrus.log().tail());
}

#[test]
fn the_mechanism_is_the_credentials_and_a_later_login_knows_the_session_still() {
    let site = Site::new("later", &[]);
    let ticket = site.ticket();
    let file = site.scratch.write_private("ticket", &ticket);
    let file = file.display().to_string();
    let asked = ["--json", "--again", "2", "--wait", "1", "--file", &file];
    let answer = site.login(Service::Imap, &asked, "");
    answer.is(0).hides(&ticket);
    let said: Value = serde_json::from_str(&answer.out).expect("JSON");
    assert_eq!(said["mechanism"], "CASPT");
    let attempts = said["attempts"].as_array().expect("attempts");
    let names: Vec<&Value> = attempts.iter().map(|attempt| &attempt["name"]).collect();
    assert_eq!(names, ["1 first", "2 again", "3 again", "4 after 1 s"]);
    for attempt in attempts {
        assert_eq!(attempt["outcome"], "logged_in");
        for time in ["connect_ms", "tls_ms", "login_ms"] {
            assert!(attempt[time].is_f64(), "{attempt}");
        }
    }
    let sources = site.sources(0, 4);
    assert_eq!(sources, ["validated", "host", "host", "host"]);
    assert_eq!(site.cas.validations(), 1);

    let token = site.token();
    let answer = site.login(Service::Imap, &["--json", "--again", "0"], &token);
    let said: Value = serde_json::from_str(&answer.is(0).out).expect("JSON");
    assert_eq!(said["mechanism"], "OAUTHBEARER");
    assert_eq!(said["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_refusal_is_shown_in_the_servers_words_and_in_ours_and_not_tried_again() {
    let site = Site::new("refusal", &[]);
    let now = now();
    let claims = format!(
        r#"{{"iss":"{}","aud":"x","sub":"alice","iat":{now},"exp":{}}}"#,
        site.provider.issuer(),
        now + 600
    );
    let forged = SigningKey::p256().token(r#"{"alg":"ES256","kid":"k"}"#, &claims);
    for service in [Service::Imap, Service::Pop3, Service::Sieve] {
        let ticket = format!("PT-forged-qj7w2mZx9Kd4vT1p-{}", service.name());
        let before = site.cas.validations();
        let answer = site.login(service, &["--again", "3"], &ticket);
        answer.is(1).hides(&ticket).says(
            &[
                "AUTHENTICATE",
                "\"status\":\"invalid_ticket\"",
                "C: base64(^A)",
                "refused: ",
                SERVICE,
            ][usize::from(service == Service::Pop3)..],
        );
        assert_eq!(site.cas.validations(), before + 1);
        assert!(answer.out.contains("were left out"), "{}", answer.out);
        assert!(!answer.out.contains("2 again"), "{}", answer.out);
        for (mechanism, status, ours) in [
            (
                "OAUTHBEARER",
                "\"status\":\"invalid_token\"",
                "C: base64(^A)",
            ),
            ("XOAUTH2", "\"status\":\"401\"", "C: base64()"),
        ] {
            let answer = site.login(service, &["--mechanism", mechanism], &forged);
            let explained = "sasl-sso explain";
            answer
                .is(1)
                .hides(&forged)
                .says(&[status, ours, "refused: ", explained]);
        }
    }
    // Who had it before is told that the session is what is missing.
    let site = Site::new("ended", &[("sasl_caspt_session_ttl", "1")]);
    let ticket = site.ticket();
    let answer = site.login(Service::Imap, &["--again", "0", "--wait", "3"], &ticket);
    let words = [
        "logged in",
        "2 after 3 s",
        "refused: The same ticket was good",
    ];
    answer.is(1).says(&words);
}

#[test]
fn an_outage_is_told_as_one() {
    let mut site = Site::new("outage", &[]);
    let ticket = site.ticket();
    site.cas.stop();
    for service in [Service::Imap, Service::Pop3, Service::Sieve] {
        let answer = site.login(service, &[], &ticket);
        let words = ["unavailable: ", "could not ask CAS or", "keep it"];
        answer.is(2).says(&words);
    }
}

#[test]
fn the_credential_stays_here_if_the_server_is_not_who_it_should_be_or_cannot_take_it() {
    let site = Site::new("stays", &[("sasl_mech_list", "PLAIN OAUTHBEARER")]);
    let ticket = site.ticket();
    let stays = |answer: Answer, status: i32, why: &[&str]| {
        answer.is(status).hides(&ticket).says(why);
        // What is sent of it is shown by this name.
        assert!(!answer.out.contains("‹ticket"), "{}", answer.out);
    };
    let other = Authority::new();
    let other = site.scratch.write("other.pem", other.ca_pem());
    let other = other.display().to_string();
    let address = |service| format!("localhost:{}", site.cyrus.port(service));
    for arguments in [
        ["--imap", &address(Service::Imap), "--starttls"],
        ["--imap", &address(Service::Imaps), "--tls"],
        ["--pop3", &address(Service::Pop3), "--starttls"],
        ["--sieve", &address(Service::Sieve), "--starttls"],
    ] {
        let trusting = [&arguments[..], &["--ca-file", &other]].concat();
        let untrusted = ["failed: TLS with localhost", "--ca-file"];
        stays(crate::login_site::login(&trusting, &ticket), 2, &untrusted);
        // Nobody signed it for the system's CAs either.
        stays(
            crate::login_site::login(&arguments, &ticket),
            2,
            &["failed: TLS with localhost"],
        );
    }
    for service in [Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve] {
        let named = ["--server-name", "elsewhere.example"];
        let wrong = ["failed: TLS with elsewhere.example", "--server-name"];
        stays(site.login(service, &named, &ticket), 2, &wrong);
        let missing = ["not offered: CASPT", "sasl_caspt_url"];
        stays(site.login(service, &[], &ticket), 1, &missing);
    }
    let clear = site.login(Service::Imap, &["--plaintext"], &ticket);
    assert!(clear.err.contains("whoever listens in"), "{}", clear.err);
    stays(
        clear,
        1,
        &["without TLS the server offers nothing", "allowplaintext"],
    );
    assert_eq!(site.cas.validations(), 0);
    assert!(
        !site.cyrus.log().contains(" outcome="),
        "{}",
        site.cyrus.log().tail()
    );
}
