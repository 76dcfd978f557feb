//! A web application that signs tokens for its users with its own key. The mail server reads the
//! public key from a file.

use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;

const ISSUER: &str = "https://application.example";
const AUDIENCE: &str = "imap.example";

/// The application's signing key.
pub struct Application(SigningKey);

impl Application {
    /// Generates the key.
    pub fn new() -> Self {
        Self(SigningKey::p256())
    }

    /// Writes the public key and returns the lines of imapd.conf that refer to it.
    pub fn settings(&self, scratch: &Scratch) -> [(&'static str, String); 3] {
        let keys = scratch.write("application.pem", self.0.pem());
        [
            ("sasl_jwt_keys", keys.display().to_string()),
            ("sasl_jwt_issuer", ISSUER.to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
        ]
    }

    /// Creates a token for a user that expires in this number of seconds, or expired that many
    /// seconds ago if the number is negative.
    pub fn token(&self, user: &str, seconds: i64) -> String {
        self.0.token(r#"{"alg":"ES256"}"#, &claims(user, seconds))
    }

    /// Creates an unsigned token, as an attacker without a key would.
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
