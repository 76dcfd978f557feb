//! One token for the whole server: Cyrus' own httpd and imapd with the plugin take it from the same
//! directory of keys. The table of the README on what each takes is this test.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;

use harness::authority::Authority;
use harness::cyrus::{Cyrus, Options, Service};
use harness::httpd;
use harness::imap::Imap;
use harness::mint::{SigningKey, now};
use harness::scratch::Scratch;
use libsasl2::token_site::oauthbearer;
use serde_json::{Value, json};

/// What both are given.
const MAX_AGE: &str = "3600";

struct Server {
    cyrus: Cyrus,
    key: SigningKey,
    secret: SigningKey,
    _scratch: Scratch,
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
            plugin: Some(libsasl2::plugin()),
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
            _scratch: scratch,
        }
    }

    /// Whether imapd takes a token, and whether httpd does.
    fn take(&self, token: &str) -> (bool, bool) {
        let mut imap = Imap::connect(self.cyrus.imap_port());
        let imapd = imap.authenticate("OAUTHBEARER", &oauthbearer(token), &[b"\x01"]);
        let httpd = httpd::status(self.cyrus.http_port(), token);
        assert!([204, 401].contains(&httpd), "{httpd}");
        (imapd.ok, httpd == 204)
    }
}

#[test]
fn what_each_takes_is_as_the_readme_says() {
    let server = Server::start();
    let token = |header: Value, claims: Value| {
        let by_secret = header["alg"]
            .as_str()
            .is_some_and(|alg| alg.starts_with('H'));
        let key = if by_secret {
            &server.secret
        } else {
            &server.key
        };
        key.token(&header.to_string(), &claims.to_string())
    };
    let (iat, exp) = (now(), now() + 600);
    let rs256 = json!({"alg": "RS256", "typ": "JWT"});
    let bare = json!({"sub": "alice", "iat": iat});
    // The first login makes alice's INBOX, without which httpd does not like anybody.
    for (what, header, claims, imapd, httpd) in [
        ("sub and iat", rs256.clone(), bare.clone(), true, true),
        (
            "RS512",
            json!({"alg": "RS512", "typ": "JWT"}),
            bare.clone(),
            true,
            true,
        ),
        (
            "HS256",
            json!({"alg": "HS256", "typ": "JWT"}),
            bare.clone(),
            true,
            true,
        ),
        (
            "HS512",
            json!({"alg": "HS512", "typ": "JWT"}),
            bare.clone(),
            true,
            true,
        ),
        ("no typ", json!({"alg": "RS256"}), bare.clone(), true, false),
        (
            "PS256",
            json!({"alg": "PS256", "typ": "JWT"}),
            bare.clone(),
            true,
            false,
        ),
        (
            "exp",
            rs256.clone(),
            json!({"sub": "alice", "iat": iat, "exp": exp}),
            true,
            false,
        ),
        (
            "role",
            rs256.clone(),
            json!({"sub": "alice", "iat": iat, "role": "mail"}),
            true,
            false,
        ),
        (
            "all four",
            rs256.clone(),
            json!({"sub": "alice", "iat": iat, "exp": exp, "role": "mail"}),
            true,
            false,
        ),
        (
            "kid",
            json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}),
            bare.clone(),
            true,
            false,
        ),
        (
            "no iat",
            rs256.clone(),
            json!({"sub": "alice"}),
            false,
            false,
        ),
        (
            "old",
            rs256.clone(),
            json!({"sub": "alice", "iat": iat - 4_000}),
            false,
            false,
        ),
        (
            "expired",
            rs256,
            json!({"sub": "alice", "iat": iat, "exp": iat - 60}),
            false,
            false,
        ),
    ] {
        let taken = server.take(&token(header, claims));
        assert_eq!(
            taken,
            (imapd, httpd),
            "{what}\n{}",
            server.cyrus.log().tail()
        );
    }
}
