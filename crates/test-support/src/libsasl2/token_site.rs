//! libsasl2 with the plugin, and an issuer that can be made to fail. No mail server is involved.

use super::site::imapd_conf;
use super::{Answer, Driver, Kit, hex};
use crate::authority::Authority;
use crate::key_server::KeyServer;
use crate::mint::{SigningKey, now};
use crate::scratch::Scratch;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The audience of the mail server.
pub const AUDIENCE: &str = "https://mail.example";

/// A scratch directory with a driver and an issuer with one ES256 key, `k1`.
pub struct TokenSite {
    pub kit: Kit,
    pub issuer: KeyServer,
    pub key: SigningKey,
    options: Vec<(String, String)>,
    pub scratch: Scratch,
}

impl TokenSite {
    /// Starts an issuer that behaves correctly, and whose keys are found by discovery.
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

    /// Writes the options to an imapd.conf.
    pub fn imapd_conf(&self) -> PathBuf {
        imapd_conf(&self.scratch, &self.options)
    }

    /// Starts a driver, with `other` in place of options of the same name. An empty value removes
    /// an option.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// Like [`TokenSite::driver`], through a wrapper such as valgrind.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        self.kit
            .driver_of(&self.scratch, wrapper, &self.options, other)
    }

    /// Writes the options to an imapd.conf, with `other` in place of options of the same name. An
    /// empty value removes an option.
    pub fn conf(&self, other: &[(&str, &str)]) -> PathBuf {
        super::conf(&self.scratch, &self.options, other)
    }

    /// Starts a driver with several named issuers and without the options of the single issuer.
    pub fn driver_of_several(&self, issuers: &[(&str, &str)]) -> Driver {
        let single_issuer = self.options.iter().map(|(name, _)| name.as_str());
        let mut options: Vec<(&str, &str)> = single_issuer
            .filter(|name| name.starts_with("jwt_"))
            .map(|name| (name, ""))
            .collect();
        options.extend(issuers);
        self.driver(&options)
    }

    /// Returns the claims of a valid token with these changes. null removes a claim.
    pub fn claims(&self, changes: Value) -> Value {
        let mut claims = json!({
            "iss": self.issuer.issuer(), "aud": AUDIENCE, "sub": "alice",
            "iat": now() - 5, "exp": now() + 600,
        });
        for (name, value) in changes.as_object().expect("not a JSON object") {
            match value {
                Value::Null => drop(
                    claims
                        .as_object_mut()
                        .expect("not a JSON object")
                        .remove(name),
                ),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    /// Creates a valid token with these claims changed.
    pub fn token(&self, changes: Value) -> String {
        let claims = self.claims(changes).to_string();
        self.key
            .token(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#, &claims)
    }

    /// Writes keys to a file for `jwt_keys`, and returns its path.
    pub fn pem_file(&self, keys: &[&SigningKey]) -> String {
        let text: String = keys.iter().map(|key| key.pem()).collect();
        self.scratch.write("keys.pem", text).display().to_string()
    }
}

/// Returns the JWK of a key with this key ID, as an issuer publishes it.
pub fn named(key: &SigningKey, kid: &str) -> Value {
    let mut jwk = key.jwk();
    jwk["kid"] = json!(kid);
    jwk
}

/// Returns the OAUTHBEARER message that contains only a token.
pub fn oauthbearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

impl Driver {
    /// Logs in by a mechanism with this first message, and responds to a challenge with `^A`.
    pub fn log_in(&mut self, mechanism: &str, message: &[u8]) -> Answer {
        self.ask(&format!("login {mechanism} {} 01", hex(message)))
    }

    /// Logs in by OAUTHBEARER with a message that contains only a token.
    pub fn token(&mut self, token: &str) -> Answer {
        self.log_in("OAUTHBEARER", &oauthbearer(token))
    }
}
