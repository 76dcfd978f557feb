//! Tokens of a real OpenID provider in a real Cyrus, brought by real clients.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;

use harness::authority::Authority;
use harness::bearer_login::{Login, Mechanism};
use harness::clients::{Clients, MailClient};
use harness::cyrus::{Cyrus, Options, Service};
use harness::imap::Imap;
use harness::imap_reply::Reply;
use harness::oidc::{ALGORITHMS, AUDIENCE, OidcProvider};
use harness::scratch::Scratch;
use harness::syslog::Line;
use libsasl2::token_site::oauthbearer;
use std::time::Duration;

/// A provider, and a Cyrus that finds its keys by discovery and wants the scope `imap`.
struct Site {
    provider: OidcProvider,
    cyrus: Cyrus,
    authority: Authority,
    scratch: Scratch,
}

impl Site {
    fn new(name: &str, other: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let provider = OidcProvider::start(&scratch, &authority);
        let mut lines = [
            ("sasl_mech_list", "OAUTHBEARER XOAUTH2".to_owned()),
            // For the clients that would prefer the other one.
            ("imaps_sasl_mech_list", "XOAUTH2".to_owned()),
            // TLS first, as everywhere but in tests.
            ("allowplaintext", "no".to_owned()),
            ("sasl_jwt_issuer", provider.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_require", "scope=imap".to_owned()),
            (
                "sasl_jwt_ca_file",
                authority.write_ca(&scratch).display().to_string(),
            ),
            // The services other than imapd leave the log to libsasl2, which keeps most to itself.
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
            plugin: Some(libsasl2::plugin()),
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
    fn accepted(&self, token: &str) {
        let reply = self.log_in(token);
        assert!(reply.ok, "{reply:?}\n{}", self.cyrus.log().tail());
    }

    /// Logs in with a token that is refused, and returns the reason in the log.
    fn refused(&self, token: &str) -> String {
        let mark = self.cyrus.log().mark();
        let reply = self.log_in(token);
        assert!(!reply.ok, "{reply:?}");
        let decision = |line: &Line| line.text.contains(" reason=");
        let line = self
            .cyrus
            .log()
            .wait_for_since(mark, decision, harness::wait::PATIENCE)
            .expect("a decision in the log");
        let reason = line.text.split_once(" reason=").expect("a reason").1;
        reason.split(' ').next().expect("a word").to_owned()
    }
}

/// Who brings tokens, where, and how. NeoMutt's OAUTHBEARER takes at most 511 bytes of token, which
/// those of RSA exceed.
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
fn every_algorithm_logs_in_through_every_client_and_service() {
    let site = Site::new("matrix", &[("sasl_jwt_keys_refresh", "3600")]);
    // The users' INBOXes, so that every client has something to open.
    let clients = Clients::new(&site.scratch, &site.authority);
    let mut logins = 0;
    for alg in ALGORITHMS {
        site.accepted(&site.provider.access_token("alice", alg));
        for (client, service, mechanism) in LOGINS.iter().copied() {
            let token = site.provider.access_token("alice", alg);
            let login = Login {
                service,
                port: site.cyrus.port(service),
                mechanism,
                user: "alice",
                token: &token,
            };
            let outcome = clients.log_in(client, &login);
            assert!(
                outcome.logged_in,
                "{client:?} {service:?} {alg}\n{}\n{}",
                outcome.transcript,
                site.cyrus.log().tail()
            );
            logins += 1;
        }
    }
    assert_eq!(logins, ALGORITHMS.len() * LOGINS.len());
    // All these processes fetched the keys once.
    assert_eq!(site.provider.key_requests(), 1);
}

#[test]
fn id_tokens_clients_tokens_and_those_without_the_scope_open_nothing() {
    let site = Site::new("refused", &[]);
    assert_eq!(site.refused(&site.provider.client_token()), "client_token");
    let without = site
        .provider
        .access_token_with_scope("alice", "ES256", "smtp");
    assert_eq!(site.refused(&without), "scope_missing");
    let id_token = site.provider.id_token("alice");
    assert_eq!(site.refused(&id_token), "audience_not_allowed");
    // And where the webmail itself is a good audience.
    let site = Site::new("refused2", &[("sasl_jwt_audience", "webmail")]);
    assert_eq!(site.refused(&site.provider.id_token("alice")), "id_token");
}

#[test]
fn keys_that_the_issuer_rotates_work_at_once_and_without_a_restart() {
    let mut site = Site::new("rotates", &[("sasl_jwt_keys_refresh", "4")]);
    let old = site.provider.access_token("alice", "ES256");
    site.accepted(&old);
    site.provider.rotate_keys(true);
    for alg in ALGORITHMS {
        site.accepted(&site.provider.access_token("alice", alg));
    }
    site.accepted(&old);
    site.provider.rotate_keys(false);
    std::thread::sleep(Duration::from_secs(4));
    site.accepted(&site.provider.access_token("alice", "PS256"));
    assert_eq!(site.refused(&old), "key_unknown");
}

#[test]
fn while_the_issuer_is_down_the_last_keys_serve_over_a_restart_of_cyrus() {
    let mut site = Site::new("down", &[("sasl_jwt_keys_refresh", "1")]);
    let tokens: Vec<String> = (0..3)
        .map(|_| site.provider.access_token("alice", "RS256"))
        .collect();
    site.accepted(&tokens[0]);
    site.provider.stop();
    std::thread::sleep(Duration::from_millis(1_100));
    site.accepted(&tokens[1]);
    site.cyrus.restart();
    site.accepted(&tokens[2]);
    site.provider.start_again();
    site.accepted(&site.provider.access_token("alice", "EdDSA"));
}

#[test]
fn without_tls_no_token_is_asked_for() {
    let site = Site::new("clear", &[]);
    let mut imap = Imap::connect(site.cyrus.imap_port());
    let offered = |imap: &mut Imap| {
        let capabilities = imap.capabilities();
        capabilities.iter().any(|word| word.starts_with("AUTH="))
    };
    assert!(!offered(&mut imap));
    imap.starttls(&site.authority);
    assert!(offered(&mut imap));
}
