//! Real mail clients and the plugin. Each client logs in with a valid token, and receives an error
//! response for a bad one.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::time::Duration;
use test_support::authority::Authority;
use test_support::bearer_login::{Login, Mechanism, Outcome};
use test_support::clients::{Clients, MailClient};
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::imap::Imap;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// The clients, services and mechanisms. imaps offers only XOAUTH2, for the clients that prefer
/// OAUTHBEARER.
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

/// Starts a Cyrus that accepts the tokens of `key` from any issuer for any audience, with a user
/// who has an INBOX.
fn cyrus(scratch: &Scratch, authority: &Authority, key: &SigningKey) -> Cyrus {
    let keys = scratch.write("key.pem", key.pem());
    let lines = [
        ("sasl_mech_list", "PLAIN OAUTHBEARER XOAUTH2".to_owned()),
        ("imaps_sasl_mech_list", "XOAUTH2".to_owned()),
        ("sasl_jwt_keys", keys.display().to_string()),
        ("sasl_jwt_issuer", "*".to_owned()),
        ("sasl_jwt_audience", "*".to_owned()),
        // Services other than imapd leave logging to libsasl2, which suppresses most messages by
        // default.
        ("sasl_log_level", "7".to_owned()),
    ];
    let options = Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        services: vec![Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve],
        ..Options::default()
    };
    let cyrus = Cyrus::start(scratch, authority, options);
    cyrus.sasl_user("anna", "secret");
    assert!(Imap::connect(cyrus.imap_port()).login("anna", "secret").ok);
    cyrus
}

/// Creates a token for a user. Each `id` makes a different token.
fn token(key: &SigningKey, user: &str, id: usize) -> String {
    let now = now();
    let claims = format!(
        r#"{{"iss":"https://sso.example","aud":"imap","sub":"{user}","jti":"{id}","iat":{now},"exp":{}}}"#,
        now + 600
    );
    key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
}

/// Logs anna in with a token and one of [`LOGINS`].
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

/// Describes what happened, for the message of a failing test.
fn context(description: &str, outcome: &Outcome, cyrus: &Cyrus) -> String {
    format!(
        "{description}\n{}\n{}",
        outcome.transcript,
        cyrus.log().tail()
    )
}

fn is_refusal(line: &Line) -> bool {
    line.text.contains("reason=")
}

#[test]
fn every_client_logs_in_with_a_valid_token() {
    let scratch = Scratch::new("good");
    let authority = Authority::new();
    let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
    let cyrus = cyrus(&scratch, &authority, &key);
    let clients = Clients::new(&scratch, &authority);
    for (id, (client, service, mechanism)) in LOGINS.iter().copied().enumerate() {
        let token = token(&key, "anna", id);
        let mark = cyrus.log().mark();
        let outcome = log_in(&cyrus, &clients, (client, service, mechanism), &token);
        let description = format!("{client:?} {service:?} {mechanism:?} {token}");
        let context = || context(&description, &outcome, &cyrus);
        assert!(outcome.logged_in, "{}", context());
        assert_eq!(outcome.challenge(), None, "{}", context());
        let welcome = |line: &Line| {
            let words = [" anna ", mechanism.name(), "User logged in"];
            words.iter().all(|word| line.text.contains(word))
        };
        let line = cyrus.log().wait_for_since(mark, welcome, PATIENCE);
        assert!(line.is_some(), "{}", context());
    }
    assert!(
        !cyrus.log().lines().iter().any(is_refusal),
        "{}",
        cyrus.log().tail()
    );
}

/// Whether and how a client responds to the challenge, the login is attempted only once.
#[test]
fn every_client_receives_the_error_and_tries_once() {
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
        let description = format!("{client:?} {service:?} {mechanism:?} {token}");
        let context = || context(&description, &outcome, &cyrus);
        assert!(!outcome.logged_in, "{}", context());
        let challenge = outcome
            .challenge()
            .unwrap_or_else(|| panic!("{}", context()));
        let status = match mechanism {
            Mechanism::OAuthBearer => "invalid_token",
            Mechanism::XOAuth2 => "401",
        };
        assert!(challenge.contains(status), "{challenge}\n{}", context());
        let line = cyrus.log().wait_for_since(mark, is_refusal, PATIENCE);
        assert!(line.is_some(), "{}", context());
        assert!(!cyrus.log().contains(&token), "{}", context());
        // Includes a late log line of the previous login.
        let lines = cyrus.log().lines();
        let count = lines.iter().filter(|line| is_refusal(line)).count();
        assert_eq!(count, id + 1, "{}", context());
    }
    // Waits for a late log line of the last login.
    std::thread::sleep(Duration::from_millis(500));
    let lines = cyrus.log().lines();
    let count = lines.iter().filter(|line| is_refusal(line)).count();
    assert_eq!(count, LOGINS.len(), "{}", cyrus.log().tail());
}

#[test]
fn sessions_are_shared_between_services() {
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
    // Each service is the first one once.
    for first in 0..services.len() {
        let token = token(&key, "anna", first);
        for turn in 0..services.len() {
            let (client, service) = services[(first + turn) % services.len()];
            let description = (client, service, Mechanism::OAuthBearer);
            let mark = cyrus.log().mark();
            let outcome = log_in(&cyrus, &clients, description, &token);
            assert!(outcome.logged_in, "{}", outcome.transcript);
            let is_outcome = |line: &Line| line.text.contains("outcome=accepted");
            let line = cyrus.log().wait_for_since(mark, is_outcome, PATIENCE);
            let line = line.expect("no outcome was logged");
            let source = if turn == 0 {
                "source=validated"
            } else {
                "source=host"
            };
            assert!(line.text.contains(source), "{service:?}: {}", line.text);
        }
    }
}
