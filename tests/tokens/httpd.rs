//! Cyrus' own httpd, and imapd with the plugin, accept tokens signed with the keys of one
//! directory. docs/tokens.md has the table of the tokens that each accepts.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::httpd;
use test_support::imap::Imap;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// The maximum age of tokens in seconds, for both servers.
const MAX_AGE: &str = "3600";

struct Server {
    cyrus: Cyrus,
    key: SigningKey,
    secret: SigningKey,
    scratch: Scratch,
}

impl Server {
    fn start() -> Self {
        let scratch = Scratch::new("one");
        let keys = scratch.create_dir("keys");
        let (key, secret) = (SigningKey::rsa(), SigningKey::hmac(&[3; 64]));
        let text = format!("two keys\n{}in one file\n{}", key.pem(), secret.pem());
        scratch.write("keys/application.pem", text);
        let keys = keys.display().to_string();
        let lines = [
            ("http_jwt_key_dir", keys.as_str()),
            ("http_jwt_max_age", MAX_AGE),
            ("sasl_jwt_keys", &keys),
            ("sasl_jwt_max_age", MAX_AGE),
            ("sasl_jwt_issuer", "*"),
            ("sasl_jwt_audience", "*"),
            ("sasl_mech_list", "OAUTHBEARER XOAUTH2"),
        ];
        let options = Options {
            plugin: Some(test_support::libsasl2::plugin()),
            services: vec![Service::Imap, Service::Http],
            imapd_conf: lines
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
        Self {
            cyrus,
            key,
            secret,
            scratch,
        }
    }

    /// Returns whether imapd accepts a token.
    fn imapd(&self, token: &str) -> bool {
        let mut imap = Imap::connect(self.cyrus.imap_port());
        let reply = imap.authenticate("OAUTHBEARER", &oauthbearer(token), &[b"\x01"]);
        reply.ok
    }

    /// Returns whether imapd accepts a token, and whether httpd does.
    fn accept(&self, token: &str) -> (bool, bool) {
        let imapd = self.imapd(token);
        let httpd = httpd::status(self.cyrus.http_port(), token);
        assert!([204, 401].contains(&httpd), "{httpd}");
        (imapd, httpd == 204)
    }
}

#[test]
fn imapd_and_httpd_accept_the_tokens_that_the_documentation_lists() {
    let server = Server::start();
    let token = |header: Value, claims: Value| {
        let key = match header["alg"].as_str() {
            Some("HS256" | "HS512") => &server.secret,
            _ => &server.key,
        };
        key.token(&header.to_string(), &claims.to_string())
    };
    let (iat, exp) = (now(), now() + 600);
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let claims = |more: Value| {
        let mut claims = json!({"sub": "alice", "iat": iat});
        for (name, value) in more.as_object().expect("not a JSON object") {
            claims[name] = value.clone();
        }
        claims
    };
    let bare = || claims(json!({}));
    let rs256 = || header("RS256");
    let with_kid = json!({"alg": "RS256", "typ": "JWT", "kid": "k1"});
    let all_four = json!({"exp": exp, "role": "mail"});
    // The first login creates alice's INBOX, without which httpd refuses all users.
    for (what, header, claims, imapd, httpd) in [
        ("sub and iat", rs256(), bare(), true, true),
        ("RS512", header("RS512"), bare(), true, true),
        ("HS256", header("HS256"), bare(), true, true),
        ("HS512", header("HS512"), bare(), true, true),
        ("PS256", header("PS256"), bare(), true, false),
        ("no typ", json!({"alg": "RS256"}), bare(), true, false),
        ("kid", with_kid, bare(), true, false),
        ("exp", rs256(), claims(json!({"exp": exp})), true, false),
        (
            "role",
            rs256(),
            claims(json!({"role": "mail"})),
            true,
            false,
        ),
        ("all four", rs256(), claims(all_four), true, false),
        ("no iat", rs256(), json!({"sub": "alice"}), false, false),
        (
            "old",
            rs256(),
            claims(json!({"iat": iat - 4_000})),
            false,
            false,
        ),
        (
            "expired",
            rs256(),
            claims(json!({"exp": iat - 60})),
            false,
            false,
        ),
    ] {
        let accepted = server.accept(&token(header, claims));
        assert_eq!(
            accepted,
            (imapd, httpd),
            "{what}\n{}",
            server.cyrus.log().tail()
        );
    }
}

#[test]
fn elliptic_curve_key_works_in_imapd_and_keeps_httpd_from_starting() {
    let server = Server::start();
    let claims = json!({"sub": "alice", "iat": now()}).to_string();
    for (algorithm, curve) in [
        ("EdDSA", SigningKey::ed25519()),
        ("ES256", SigningKey::p256()),
    ] {
        server.scratch.write("keys/curve.pem", curve.pem());
        let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
        let token = curve.token(&header, &claims);
        assert!(server.imapd(&token), "{algorithm}");
    }
    let _ = std::net::TcpStream::connect(("127.0.0.1", server.cyrus.http_port()));
    let error = |line: &Line| line.text.contains("Unsupported public key");
    let line = server.cyrus.log().wait_for(error, PATIENCE);
    assert!(line.is_some(), "{}", server.cyrus.log().tail());
}
