//! `sasl-sso login` and a real mail server: its output, and that it does not send the credential to
//! a wrong server.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use crate::login_env::{LoginEnv, Run, SERVICE};
use serde_json::Value;
use test_support::authority::Authority;
use test_support::cyrus::Service;
use test_support::mint::{SigningKey, now};

const TICKET_MECHANISM: &str = "CASPT";
const TOKEN_MECHANISM: &str = "OAUTHBEARER";

/// All services and mechanisms; `true` stands for a ticket, `false` for a token. A login by IMAP
/// creates the INBOX that POP3 needs.
const LOGINS: &[(Service, &str, bool)] = &[
    (Service::Imap, TICKET_MECHANISM, true),
    (Service::Imap, TOKEN_MECHANISM, false),
    (Service::Imap, "XOAUTH2", false),
    (Service::Imap, "PLAIN", true),
    (Service::Imap, "PLAIN", false),
    (Service::Imap, "LOGIN", true),
    (Service::Imaps, TICKET_MECHANISM, true),
    (Service::Imaps, TOKEN_MECHANISM, false),
    (Service::Pop3, TICKET_MECHANISM, true),
    (Service::Pop3, TOKEN_MECHANISM, false),
    (Service::Pop3, "XOAUTH2", false),
    (Service::Pop3, "PLAIN", true),
    (Service::Pop3, "LOGIN", true),
    (Service::Sieve, TICKET_MECHANISM, true),
    (Service::Sieve, TOKEN_MECHANISM, false),
    (Service::Sieve, "XOAUTH2", false),
    (Service::Sieve, "PLAIN", true),
];

#[test]
fn every_mechanism_works_and_the_second_login_is_a_cache_hit() {
    let env = LoginEnv::new("ways", &[]);
    let mut tickets = 0;
    for (service, mechanism, is_ticket) in LOGINS.iter().copied() {
        let credential = match is_ticket {
            true => env.ticket(),
            false => env.token(),
        };
        let mark = env.cyrus.log().mark();
        let arguments = ["--mechanism", mechanism, "--user", "alice"];
        let run = env.login(service, &arguments, &format!("{credential}\n"));
        let context = format!("{service:?} {mechanism}");
        assert_eq!(
            run.status,
            Some(0),
            "{context}: {run:?}\n{}",
            env.cyrus.log().tail()
        );
        run.hides(&credential).prints(&[
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
        let sources = env.sources(mark, 2);
        assert_eq!(sources[0], "validated", "{context}");
        assert!(
            ["host", "memory"].contains(&sources[1].as_str()),
            "{context}"
        );
        tickets += usize::from(is_ticket);
        assert_eq!(env.cas.validations(), tickets, "{context}");
    }
    // timsieved 3.6.1 crashes if a client disconnects without LOGOUT after a login.
    let crashed = |line: &test_support::syslog::Line| line.text.contains("signaled to death");
    let lines = env.cyrus.log().lines();
    assert!(!lines.iter().any(crashed), "{}", env.cyrus.log().tail());
}

#[test]
fn mechanism_follows_the_credential_and_a_later_login_is_a_cache_hit() {
    let env = LoginEnv::new("later", &[]);
    let ticket = env.ticket();
    let file = env.scratch.write_private("ticket", &ticket);
    let file = file.display().to_string();
    let arguments = ["--json", "--again", "2", "--wait", "1", "--file", &file];
    let run = env.login(Service::Imap, &arguments, "");
    run.exits_with(0).hides(&ticket);
    let json: Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(json["mechanism"], "CASPT");
    let attempts = json["attempts"].as_array().expect("attempts");
    let attempt_names: Vec<&Value> = attempts.iter().map(|attempt| &attempt["name"]).collect();
    assert_eq!(
        attempt_names,
        ["1 first", "2 again", "3 again", "4 after 1 s"]
    );
    for attempt in attempts {
        assert_eq!(attempt["outcome"], "logged_in");
        for time in ["connect_ms", "tls_ms", "login_ms"] {
            assert!(attempt[time].is_f64(), "{attempt}");
        }
    }
    let sources = env.sources(0, 4);
    assert_eq!(sources, ["validated", "host", "host", "host"]);
    assert_eq!(env.cas.validations(), 1);

    let token = env.token();
    let run = env.login(Service::Imap, &["--json", "--again", "0"], &token);
    let json: Value = serde_json::from_str(&run.exits_with(0).out).expect("JSON");
    assert_eq!(json["mechanism"], "OAUTHBEARER");
    assert_eq!(json["attempts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn refusal_is_explained_and_not_retried() {
    let env = LoginEnv::new("refusal", &[]);
    let now = now();
    let claims = format!(
        r#"{{"iss":"{}","aud":"x","sub":"alice","iat":{now},"exp":{}}}"#,
        env.provider.issuer(),
        now + 600
    );
    let forged = SigningKey::p256().token(r#"{"alg":"ES256","kid":"k"}"#, &claims);
    for service in [Service::Imap, Service::Pop3, Service::Sieve] {
        let ticket = format!("PT-forged-qj7w2mZx9Kd4vT1p-{}", service.name());
        let before = env.cas.validations();
        let run = env.login(service, &["--again", "3"], &ticket);
        run.exits_with(1).hides(&ticket).prints(
            &[
                "AUTHENTICATE",
                "\"status\":\"invalid_ticket\"",
                "C: base64(^A)",
                "refused: ",
                SERVICE,
            ][usize::from(service == Service::Pop3)..],
        );
        assert_eq!(env.cas.validations(), before + 1);
        assert!(run.out.contains("were left out"), "{}", run.out);
        assert!(!run.out.contains("2 again"), "{}", run.out);
        for (mechanism, status, response) in [
            (
                "OAUTHBEARER",
                "\"status\":\"invalid_token\"",
                "C: base64(^A)",
            ),
            ("XOAUTH2", "\"status\":\"401\"", "C: base64()"),
        ] {
            let run = env.login(service, &["--mechanism", mechanism], &forged);
            let hint = "sasl-sso explain";
            run.exits_with(1)
                .hides(&forged)
                .prints(&[status, response, "refused: ", hint]);
        }
    }
    // If the same ticket was accepted before, the output says that the session has ended.
    let env = LoginEnv::new("ended", &[("sasl_caspt_session_ttl", "1")]);
    let ticket = env.ticket();
    let run = env.login(Service::Imap, &["--again", "0", "--wait", "3"], &ticket);
    let texts = [
        "logged in",
        "2 after 3 s",
        "refused: The same ticket was good",
    ];
    run.exits_with(1).prints(&texts);
}

#[test]
fn outage_is_reported_as_unavailable() {
    let mut env = LoginEnv::new("outage", &[]);
    let ticket = env.ticket();
    env.cas.stop();
    for service in [Service::Imap, Service::Pop3, Service::Sieve] {
        let run = env.login(service, &[], &ticket);
        let texts = ["unavailable: ", "could not ask CAS or", "keep it"];
        run.exits_with(2).prints(&texts);
    }
}

#[test]
fn credential_is_not_sent_to_an_unverified_or_unsuitable_server() {
    let env = LoginEnv::new("stays", &[("sasl_mech_list", "PLAIN OAUTHBEARER")]);
    let ticket = env.ticket();
    let assert_not_sent = |run: Run, status: i32, why: &[&str]| {
        run.exits_with(status).hides(&ticket).prints(why);
        // A credential that is sent is shown by this name.
        assert!(!run.out.contains("‹ticket"), "{}", run.out);
    };
    let other = Authority::new();
    let other = env.scratch.write("other.pem", other.ca_pem());
    let other = other.display().to_string();
    let address = |service| format!("localhost:{}", env.cyrus.port(service));
    for arguments in [
        ["--imap", &address(Service::Imap), "--starttls"],
        ["--imap", &address(Service::Imaps), "--tls"],
        ["--pop3", &address(Service::Pop3), "--starttls"],
        ["--sieve", &address(Service::Sieve), "--starttls"],
    ] {
        let trusting = [&arguments[..], &["--ca-file", &other]].concat();
        let untrusted = ["failed: TLS with localhost", "--ca-file"];
        assert_not_sent(crate::login_env::login(&trusting, &ticket), 2, &untrusted);
        // The CAs of the system have not signed the certificate either.
        assert_not_sent(
            crate::login_env::login(&arguments, &ticket),
            2,
            &["failed: TLS with localhost"],
        );
    }
    for service in [Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve] {
        let named = ["--server-name", "elsewhere.example"];
        let wrong = ["failed: TLS with elsewhere.example", "--server-name"];
        assert_not_sent(env.login(service, &named, &ticket), 2, &wrong);
        let missing = ["not offered: CASPT", "sasl_caspt_url"];
        assert_not_sent(env.login(service, &[], &ticket), 1, &missing);
    }
    let plaintext = env.login(Service::Imap, &["--plaintext"], &ticket);
    assert!(
        plaintext.err.contains("whoever listens in"),
        "{}",
        plaintext.err
    );
    assert_not_sent(
        plaintext,
        1,
        &["without TLS the server offers nothing", "allowplaintext"],
    );
    assert_eq!(env.cas.validations(), 0);
    assert!(
        !env.cyrus.log().contains(" outcome="),
        "{}",
        env.cyrus.log().tail()
    );
}
