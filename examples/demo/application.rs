//! A web application that signs tokens for its users itself. The mail server has the public half of
//! its key, in a file.

use super::harness::mint::{SigningKey, now};
use super::harness::scratch::Scratch;

const ISSUER: &str = "https://application.example";
const AUDIENCE: &str = "imap.example";

/// The application, as far as it deals with tokens.
pub struct Application(SigningKey);

impl Application {
    /// Makes a key for it.
    pub fn new() -> Self {
        Self(SigningKey::p256())
    }

    /// What it is to the plugin: lines of imapd.conf.
    pub fn settings(&self, scratch: &Scratch) -> [(&'static str, String); 3] {
        let keys = scratch.write("application.pem", self.0.pem());
        [
            ("sasl_jwt_keys", keys.display().to_string()),
            ("sasl_jwt_issuer", ISSUER.to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
        ]
    }

    /// A new token for a user that is good for so many seconds from now on, or was until so many
    /// seconds ago if that is negative.
    pub fn token(&self, user: &str, seconds: i64) -> String {
        self.0.token(r#"{"alg":"ES256"}"#, &claims(user, seconds))
    }

    /// What somebody else writes, who has no key: a token that says that it is not signed.
    pub fn unsigned(&self, user: &str) -> String {
        self.0.token(r#"{"alg":"none"}"#, &claims(user, 600))
    }
}

fn claims(user: &str, seconds: i64) -> String {
    let user = serde_json::Value::from(user);
    let exp = now().saturating_add_signed(seconds);
    let iat = now().min(exp) - 60;
    format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":{user},"iat":{iat},"exp":{exp}}}"#)
}
