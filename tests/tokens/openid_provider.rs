//! Tokens of a real OpenID provider, sent to a real Cyrus by real clients.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::time::Duration;
use test_support::authority::Authority;
use test_support::bearer_login::{Login, Mechanism};
use test_support::clients::{Clients, MailClient};
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::imap::Imap;
use test_support::imap_reply::Reply;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::oidc::{ALGORITHMS, AUDIENCE, OidcProvider};
use test_support::scratch::Scratch;
use test_support::syslog::Line;

/// A provider, and a Cyrus that finds the provider's keys by discovery and requires the scope
/// `imap`.
struct IssuerEnv {
    provider: OidcProvider,
    cyrus: Cyrus,
    authority: Authority,
    scratch: Scratch,
}

impl IssuerEnv {
    fn new(name: &str, other: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let provider = OidcProvider::start(&scratch, &authority);
        let mut lines = [
            ("sasl_mech_list", "OAUTHBEARER XOAUTH2".to_owned()),
            // For the clients that prefer OAUTHBEARER.
            ("imaps_sasl_mech_list", "XOAUTH2".to_owned()),
            // TLS is required, as in production.
            ("allowplaintext", "no".to_owned()),
            ("sasl_jwt_issuer", provider.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_require", "scope=imap".to_owned()),
            (
                "sasl_jwt_ca_file",
                authority.write_ca(&scratch).display().to_string(),
            ),
            // Services other than imapd leave logging to libsasl2, which suppresses most messages
            // by default.
            ("sasl_log_level", "7".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        lines.extend(
            other
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let options = Options {
            plugin: Some(test_support::libsasl2::plugin()),
            imapd_conf: lines,
            services: vec![Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve],
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            provider,
            cyrus,
            authority,
            scratch,
        }
    }

    fn log_in(&self, token: &str) -> Reply {
        let mut imap = Imap::connect(self.cyrus.imap_port());
        imap.starttls(&self.authority);
        imap.authenticate("OAUTHBEARER", &oauthbearer(token), &[b"\x01"])
    }

    #[track_caller]
    fn assert_accepted(&self, token: &str) {
        let reply = self.log_in(token);
        assert!(reply.ok, "{reply:?}\n{}", self.cyrus.log().tail());
    }

    /// Logs in with a token that must be refused. Returns the reason in the log.
    fn refusal_reason(&self, token: &str) -> String {
        let mark = self.cyrus.log().mark();
        let reply = self.log_in(token);
        assert!(!reply.ok, "{reply:?}");
        let is_refusal = |line: &Line| line.text.contains(" reason=");
        let line = self
            .cyrus
            .log()
            .wait_for_since(mark, is_refusal, test_support::wait::PATIENCE)
            .expect("no outcome was logged");
        let reason = line
            .text
            .split_once(" reason=")
            .expect("the log line has no reason")
            .1;
        reason
            .split(' ')
            .next()
            .expect("the reason is empty")
            .to_owned()
    }
}

/// The clients, services and mechanisms. NeoMutt limits OAUTHBEARER tokens to 511 bytes, fewer than
/// a token with an RSA signature has.
const LOGINS: &[(MailClient, Service, Mechanism)] = &[
    (MailClient::Curl, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::Curl, Service::Imaps, Mechanism::XOAuth2),
    (MailClient::Curl, Service::Pop3, Mechanism::OAuthBearer),
    (MailClient::Imaplib, Service::Imap, Mechanism::OAuthBearer),
    (
        MailClient::ImapClient,
        Service::Imap,
        Mechanism::OAuthBearer,
    ),
    (MailClient::ImapClient, Service::Imap, Mechanism::XOAuth2),
    (MailClient::Imapflow, Service::Imap, Mechanism::OAuthBearer),
    (MailClient::NeoMutt, Service::Imap, Mechanism::XOAuth2),
    (MailClient::Sieve, Service::Sieve, Mechanism::OAuthBearer),
];

#[test]
fn every_algorithm_is_accepted_from_every_client() {
    let env = IssuerEnv::new("matrix", &[("sasl_jwt_keys_refresh", "3600")]);
    let clients = Clients::new(&env.scratch, &env.authority);
    let mut logins = 0;
    for alg in ALGORITHMS {
        env.assert_accepted(&env.provider.access_token("alice", alg));
        for (client, service, mechanism) in LOGINS.iter().copied() {
            let token = env.provider.access_token("alice", alg);
            let login = Login {
                service,
                port: env.cyrus.port(service),
                mechanism,
                user: "alice",
                token: &token,
            };
            let outcome = clients.log_in(client, &login);
            assert!(
                outcome.logged_in,
                "{client:?} {service:?} {alg}\n{}\n{}",
                outcome.transcript,
                env.cyrus.log().tail()
            );
            logins += 1;
        }
    }
    assert_eq!(logins, ALGORITHMS.len() * LOGINS.len());
    // All processes together fetched the keys once.
    assert_eq!(env.provider.key_requests(), 1);
}

#[test]
fn id_tokens_client_tokens_and_missing_scope_are_refused() {
    let env = IssuerEnv::new("refused", &[]);
    assert_eq!(
        env.refusal_reason(&env.provider.client_token()),
        "client_token"
    );
    let without = env
        .provider
        .access_token_with_scope("alice", "ES256", "smtp");
    assert_eq!(env.refusal_reason(&without), "scope_missing");
    let id_token = env.provider.id_token("alice");
    assert_eq!(env.refusal_reason(&id_token), "audience_not_allowed");
    // An ID token is refused even if its audience, the webmail, is allowed.
    let env = IssuerEnv::new("refused2", &[("sasl_jwt_audience", "webmail")]);
    assert_eq!(
        env.refusal_reason(&env.provider.id_token("alice")),
        "id_token"
    );
}

#[test]
fn rotated_keys_work_at_once_without_a_restart() {
    let mut env = IssuerEnv::new("rotates", &[("sasl_jwt_keys_refresh", "4")]);
    let old = env.provider.access_token("alice", "ES256");
    env.assert_accepted(&old);
    env.provider.rotate_keys(true);
    for alg in ALGORITHMS {
        env.assert_accepted(&env.provider.access_token("alice", alg));
    }
    env.assert_accepted(&old);
    env.provider.rotate_keys(false);
    std::thread::sleep(Duration::from_secs(4));
    env.assert_accepted(&env.provider.access_token("alice", "PS256"));
    assert_eq!(env.refusal_reason(&old), "key_unknown");
}

#[test]
fn cached_keys_survive_a_restart_while_the_issuer_is_down() {
    let mut env = IssuerEnv::new("down", &[("sasl_jwt_keys_refresh", "1")]);
    let tokens: Vec<String> = (0..3)
        .map(|_| env.provider.access_token("alice", "RS256"))
        .collect();
    env.assert_accepted(&tokens[0]);
    env.provider.stop();
    std::thread::sleep(Duration::from_millis(1_100));
    env.assert_accepted(&tokens[1]);
    env.cyrus.restart();
    env.assert_accepted(&tokens[2]);
    env.provider.start_again();
    env.assert_accepted(&env.provider.access_token("alice", "EdDSA"));
}

#[test]
fn no_mechanism_is_offered_without_tls() {
    let env = IssuerEnv::new("clear", &[]);
    let mut imap = Imap::connect(env.cyrus.imap_port());
    let offered = |imap: &mut Imap| {
        let capabilities = imap.capabilities();
        capabilities.iter().any(|word| word.starts_with("AUTH="))
    };
    assert!(!offered(&mut imap));
    imap.starttls(&env.authority);
    assert!(offered(&mut imap));
}
