//! Real mail clients and the shipped plugin: each logs in with a good token, and learns why it
//! does not with a bad one.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;

use harness::authority::Authority;
use harness::bearer_login::{Login, Mechanism, Outcome};
use harness::clients::{Clients, MailClient};
use harness::cyrus::{Cyrus, Options, Service};
use harness::imap::Imap;
use harness::mint::{SigningKey, now};
use harness::scratch::Scratch;
use harness::syslog::Line;
use harness::wait::PATIENCE;
use std::time::Duration;

/// imapd with TLS from the start offers XOAUTH2 alone, for the clients that prefer OAUTHBEARER.
const LOGINS: &[(MailClient, Service, Mechanism)] = &[
    (MailClient::Curl, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::Curl, Service::Imaps, Mechanism::XOAuth2),
    (MailClient::Curl, Service::Pop3, Mechanism::OAuthBearer),
    (
        MailClient::ImapClient,
        Service::Imap,
        Mechanism::OAuthBearer,
    ),
    (MailClient::ImapClient, Service::Imap, Mechanism::XOAuth2),
    (MailClient::Imapflow, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::Imapflow, Service::Imaps, Mechanism::XOAuth2),
    (MailClient::Imaplib, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::Imaplib, Service::Imap, Mechanism::XOAuth2),
    (MailClient::Mutt, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::Mutt, Service::Imap, Mechanism::XOAuth2),
    (MailClient::NeoMutt, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::NeoMutt, Service::Imap, Mechanism::XOAuth2),
    (MailClient::Poplib, Service::Pop3, Mechanism::OAuthBearer),
    (MailClient::Poplib, Service::Pop3, Mechanism::XOAuth2),
    (MailClient::Sieve, Service::Sieve, Mechanism::OAuthBearer),
    (MailClient::Sieve, Service::Sieve, Mechanism::XOAuth2),
];

/// A Cyrus that takes the tokens of `key`, whoever issued them for whatever, and a user with an
/// INBOX.
fn cyrus(scratch: &Scratch, authority: &Authority, key: &SigningKey) -> Cyrus {
    let keys = scratch.write("key.pem", key.pem());
    let lines = [
        ("sasl_mech_list", "PLAIN OAUTHBEARER XOAUTH2".to_owned()),
        ("imaps_sasl_mech_list", "XOAUTH2".to_owned()),
        ("sasl_jwt_keys", keys.display().to_string()),
        ("sasl_jwt_issuer", "*".to_owned()),
        ("sasl_jwt_audience", "*".to_owned()),
        // The services other than imapd leave the log to libsasl2, which keeps most to itself.
        ("sasl_log_level", "7".to_owned()),
    ];
    let options = Options {
        plugin: Some(libsasl2::plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        services: vec![Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve],
        ..Options::default()
    };
    let cyrus = Cyrus::start(scratch, authority, options);
    cyrus.sasl_user("anna", "secret");
    assert!(Imap::connect(cyrus.imap_port()).login("anna", "secret").ok);
    cyrus
}

/// A token of a user; each `id` makes another one.
fn token(key: &SigningKey, user: &str, id: usize) -> String {
    let now = now();
    let claims = format!(
        r#"{{"iss":"https://sso.example","aud":"imap","sub":"{user}","jti":"{id}","iat":{now},"exp":{}}}"#,
        now + 600
    );
    key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
}

/// Anna's login with a token by one of [`LOGINS`].
fn log_in(
    cyrus: &Cyrus,
    clients: &Clients,
    (client, service, mechanism): (MailClient, Service, Mechanism),
    token: &str,
) -> Outcome {
    let login = Login {
        service,
        port: cyrus.port(service),
        mechanism,
        user: "anna",
        token,
    };
    clients.log_in(client, &login)
}

/// What happened, for the message of a failing test.
fn told(by: &str, outcome: &Outcome, cyrus: &Cyrus) -> String {
    format!("{by}\n{}\n{}", outcome.transcript, cyrus.log().tail())
}

fn refused(line: &Line) -> bool {
    line.text.contains("reason=")
}

#[test]
fn every_client_logs_in_with_a_good_token() {
    let scratch = Scratch::new("good");
    let authority = Authority::new();
    let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
    let cyrus = cyrus(&scratch, &authority, &key);
    let clients = Clients::new(&scratch, &authority);
    for (id, (client, service, mechanism)) in LOGINS.iter().copied().enumerate() {
        let token = token(&key, "anna", id);
        let mark = cyrus.log().mark();
        let outcome = log_in(&cyrus, &clients, (client, service, mechanism), &token);
        let by = format!("{client:?} {service:?} {mechanism:?} {token}");
        let told = || told(&by, &outcome, &cyrus);
        assert!(outcome.logged_in, "{}", told());
        assert_eq!(outcome.challenge(), None, "{}", told());
        let welcome = |line: &Line| {
            let words = [" anna ", mechanism.name(), "User logged in"];
            words.iter().all(|word| line.text.contains(word))
        };
        let line = cyrus.log().wait_for_since(mark, welcome, PATIENCE);
        assert!(line.is_some(), "{}", told());
    }
    assert!(
        !cyrus.log().lines().iter().any(refused),
        "{}",
        cyrus.log().tail()
    );
}

/// Whatever they answer to the challenge, or whether they do: nothing is tried again for it.
#[test]
fn every_client_learns_why_its_token_is_bad_and_tries_it_once() {
    let scratch = Scratch::new("bad");
    let authority = Authority::new();
    let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
    let cyrus = cyrus(&scratch, &authority, &key);
    let clients = Clients::new(&scratch, &authority);
    let forger = SigningKey::hmac(b"thirty-two bytes of another key.");
    for (id, (client, service, mechanism)) in LOGINS.iter().copied().enumerate() {
        let token = token(&forger, "anna", id);
        let mark = cyrus.log().mark();
        let outcome = log_in(&cyrus, &clients, (client, service, mechanism), &token);
        let by = format!("{client:?} {service:?} {mechanism:?} {token}");
        let told = || told(&by, &outcome, &cyrus);
        assert!(!outcome.logged_in, "{}", told());
        let challenge = outcome.challenge().unwrap_or_else(|| panic!("{}", told()));
        let status = match mechanism {
            Mechanism::OAuthBearer => "invalid_token",
            Mechanism::XOAuth2 => "401",
        };
        assert!(challenge.contains(status), "{challenge}\n{}", told());
        let line = cyrus.log().wait_for_since(mark, refused, PATIENCE);
        assert!(line.is_some(), "{}", told());
        assert!(!cyrus.log().contains(&token), "{}", told());
        // A late second line of the login before would be counted here.
        let lines = cyrus.log().lines();
        let count = lines.iter().filter(|line| refused(line)).count();
        assert_eq!(count, id + 1, "{}", told());
    }
    // And of the last one.
    std::thread::sleep(Duration::from_millis(500));
    let lines = cyrus.log().lines();
    let count = lines.iter().filter(|line| refused(line)).count();
    assert_eq!(count, LOGINS.len(), "{}", cyrus.log().tail());
}

#[test]
fn what_one_service_has_validated_the_others_know() {
    let scratch = Scratch::new("shared");
    let authority = Authority::new();
    let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
    let cyrus = cyrus(&scratch, &authority, &key);
    let clients = Clients::new(&scratch, &authority);
    let services = [
        (MailClient::Sieve, Service::Sieve),
        (MailClient::Poplib, Service::Pop3),
        (MailClient::Imaplib, Service::Imap),
    ];
    // Whichever comes first.
    for first in 0..services.len() {
        let token = token(&key, "anna", first);
        for turn in 0..services.len() {
            let (client, service) = services[(first + turn) % services.len()];
            let by = (client, service, Mechanism::OAuthBearer);
            let mark = cyrus.log().mark();
            let outcome = log_in(&cyrus, &clients, by, &token);
            assert!(outcome.logged_in, "{}", outcome.transcript);
            let decision = |line: &Line| line.text.contains("outcome=accepted");
            let line = cyrus.log().wait_for_since(mark, decision, PATIENCE);
            let line = line.expect("a decision in the log");
            let source = if turn == 0 {
                "source=validated"
            } else {
                "source=host"
            };
            assert!(line.text.contains(source), "{service:?}: {}", line.text);
        }
    }
}
