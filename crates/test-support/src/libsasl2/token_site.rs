//! A site without a mail server: libsasl2 with the plugin, and an issuer of tokens that does as it
//! is told.

use super::site::imapd_conf;
use super::{Answer, Driver, Kit, hex};
use crate::authority::Authority;
use crate::key_server::KeyServer;
use crate::mint::{SigningKey, now};
use crate::scratch::Scratch;
use serde_json::{Value, json};
use std::path::PathBuf;

/// What the site calls the mail server.
pub const AUDIENCE: &str = "https://mail.example";

/// A scratch directory with a kit and an issuer of one key, `k1`, by ES256.
pub struct TokenSite {
    pub kit: Kit,
    pub issuer: KeyServer,
    pub key: SigningKey,
    options: Vec<(String, String)>,
    pub scratch: Scratch,
}

impl TokenSite {
    /// A site whose issuer is correct and is found by discovery.
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let issuer = KeyServer::start(&authority);
        let key = SigningKey::p256();
        issuer.set_keys(&[named(&key, "k1")]);
        let options = [
            ("jwt_issuer", issuer.issuer()),
            ("jwt_keys", "discovery".to_owned()),
            ("jwt_audience", AUDIENCE.to_owned()),
            (
                "jwt_ca_file",
                authority.write_ca(&scratch).display().to_string(),
            ),
            ("jwt_timeout", "20".to_owned()),
            ("sso_state_dir", scratch.join("state").display().to_string()),
        ];
        Self {
            kit: Kit::new(&scratch),
            issuer,
            key,
            options: options
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            scratch,
        }
    }

    /// The site's options as an imapd.conf.
    pub fn imapd_conf(&self) -> PathBuf {
        imapd_conf(&self.scratch, &self.options)
    }

    /// A server whose options are the site's, but for these; an empty one is not set.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// The same under another program, such as valgrind.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        self.kit
            .driver_of(&self.scratch, wrapper, &self.options, other)
    }

    /// The site's options, but for these, as an imapd.conf; an empty one is not set.
    pub fn conf(&self, other: &[(&str, &str)]) -> PathBuf {
        super::conf(&self.scratch, &self.options, other)
    }

    /// A server with several issuers by name: none of the site's own options for its only one.
    pub fn driver_of_several(&self, issuers: &[(&str, &str)]) -> Driver {
        let own = self.options.iter().map(|(name, _)| name.as_str());
        let mut options: Vec<(&str, &str)> = own
            .filter(|name| name.starts_with("jwt_"))
            .map(|name| (name, ""))
            .collect();
        options.extend(issuers);
        self.driver(&options)
    }

    /// The claims of a good token, with these changed; null takes one away.
    pub fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer.issuer(), "aud": AUDIENCE, "sub": "alice",
            "iat": now() - 5, "exp": now() + 600,
        });
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    /// A good token, but for these claims.
    pub fn token(&self, changes: Value) -> String {
        let claims = self.claims(changes).to_string();
        self.key
            .token(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#, &claims)
    }

    /// A file of keys, for `jwt_keys`.
    pub fn pem_file(&self, keys: &[&SigningKey]) -> String {
        let text: String = keys.iter().map(|key| key.pem()).collect();
        self.scratch.write("keys.pem", text).display().to_string()
    }
}

/// A key with a name, as an issuer publishes it.
pub fn named(key: &SigningKey, kid: &str) -> Value {
    let mut jwk = key.jwk();
    jwk["kid"] = json!(kid);
    jwk
}

/// The message of OAUTHBEARER with a token alone.
pub fn oauthbearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

impl Driver {
    /// A login by a mechanism with this first message; a refusal is answered with `^A`.
    pub fn log_in(&mut self, mechanism: &str, message: &[u8]) -> Answer {
        self.ask(&format!("login {mechanism} {} 01", hex(message)))
    }

    /// A login by OAUTHBEARER with a token alone.
    pub fn token(&mut self, token: &str) -> Answer {
        self.log_in("OAUTHBEARER", &oauthbearer(token))
    }
}
