//! Tests of the servers and clients for bearer tokens, on which other tests rely.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use test_support::authority::Authority;
use test_support::bearer_login::{Login, Mechanism};
use test_support::clients::{Clients, MailClient};
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::httpd;
use test_support::imap::Imap;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;

const HEADER: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

#[test]
fn httpd_accepts_only_recent_tokens_with_sub_and_iat() {
    let scratch = Scratch::new("httpd");
    let keys = scratch.create_dir("keys");
    let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
    scratch.write("keys/test.pem", key.pem());
    let lines = [
        ("http_jwt_key_dir", keys.display().to_string()),
        ("http_jwt_max_age", "10m".to_owned()),
    ];
    let options = Options {
        services: vec![Service::Imap, Service::Http],
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
    cyrus.sasl_user("anna", "secret");
    // A first login creates the INBOX.
    assert!(Imap::connect(cyrus.imap_port()).login("anna", "secret").ok);

    let now = now();
    let claims = |iat: u64, more: &str| format!(r#"{{"sub":"anna","iat":{iat}{more}}}"#);
    let good = claims(now, "");
    let status = |token: &str| httpd::status(cyrus.http_port(), token);
    assert_eq!(
        status(&key.token(HEADER, &good)),
        204,
        "{}",
        cyrus.log().tail()
    );
    assert!(cyrus.log().contains("anna Bearer User logged in"));
    let expires = format!(r#","exp":{}"#, now + 600);
    let forger = SigningKey::hmac(b"another secret key of some bytes");
    for refused in [
        key.token(HEADER, &claims(now, &expires)),
        key.token(HEADER, &claims(now, r#","role":"mail""#)),
        key.token(HEADER, &claims(now - 700, "")),
        forger.token(HEADER, &good),
    ] {
        assert_eq!(status(&refused), 401, "{}", cyrus.log().tail());
    }
}

#[test]
fn mail_clients_trust_only_the_ca_of_the_test() {
    let scratch = Scratch::new("clients");
    let authority = Authority::new();
    let options = Options {
        services: vec![Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve],
        imapd_conf: vec![("allowplaintext".to_owned(), "no".to_owned())],
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    for (client, service) in [
        (MailClient::Curl, Service::Imap),
        (MailClient::Curl, Service::Imaps),
        (MailClient::Curl, Service::Pop3),
        (MailClient::ImapClient, Service::Imap),
        (MailClient::Imapflow, Service::Imap),
        (MailClient::Imapflow, Service::Imaps),
        (MailClient::Imaplib, Service::Imap),
        (MailClient::Mutt, Service::Imap),
        (MailClient::NeoMutt, Service::Imap),
        (MailClient::Poplib, Service::Pop3),
        (MailClient::Sieve, Service::Sieve),
    ] {
        let login = Login {
            service,
            port: cyrus.port(service),
            mechanism: Mechanism::OAuthBearer,
            user: "anna",
            token: "token",
        };
        // The server offers PLAIN only within TLS, so the word proves that TLS was started.
        for (authority, trusted) in [(&authority, true), (&Authority::new(), false)] {
            let outcome = Clients::new(&scratch, authority).log_in(client, &login);
            let tls_started = outcome.transcript.contains("PLAIN");
            assert_eq!(tls_started, trusted, "{client:?}: {}", outcome.transcript);
            assert!(!outcome.logged_in && outcome.challenge().is_none());
        }
    }
}
