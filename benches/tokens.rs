//! Tokens as an issuer makes them, each of them another one, and the messages that they come in.

use std::path::PathBuf;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;

/// Their `iss` and `aud`.
pub const ISSUER: &str = "https://sso.univ.example/realms/univ";
pub const AUDIENCE: &str = "imap";

/// Tokens of one issuer, who has one key.
pub struct Tokens {
    pub key: SigningKey,
    tokens: Vec<String>,
}

impl Tokens {
    /// So many, signed by this algorithm, with the claims that a Keycloak writes.
    pub fn minted(algorithm: &str, count: usize) -> Self {
        let key = key(algorithm);
        let header = format!(
            r#"{{"alg":"{algorithm}","typ":"JWT","kid":"FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoq"}}"#
        );
        let (iat, exp) = (now(), now() + 24 * 60 * 60);
        let claims = |number| {
            format!(
                r#"{{"exp":{exp},"iat":{iat},"jti":"onrtac:7c07{number:08x}-9e1d-4a53-8f6b","iss":"{ISSUER}","aud":["{AUDIENCE}","account"],"sub":"user1","typ":"Bearer","azp":"webmail","sid":"5b7e0b2f-6c9f-4a8e-b0f5-2f1d6f3a9c11","acr":"1","realm_access":{{"roles":["staff","offline_access","uma_authorization"]}},"scope":"openid email profile imap","email_verified":true,"preferred_username":"user1"}}"#
            )
        };
        let tokens = (0..count).map(|number| key.token(&header, &claims(number)));
        Self {
            tokens: tokens.collect(),
            key,
        }
    }

    /// Each token's signed part and its signature, in base64url.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        let tokens = self.tokens.iter();
        tokens.map(|token| token.rsplit_once('.').expect("a token with dots"))
    }

    /// What a server that takes them is told.
    pub fn options(&self, scratch: &Scratch, name: &str) -> Vec<(&'static str, String)> {
        let keys = scratch.write(format!("{name}.pem"), self.key.pem());
        vec![
            ("jwt_keys", keys.display().to_string()),
            ("jwt_issuer", ISSUER.to_owned()),
            ("jwt_audience", AUDIENCE.to_owned()),
        ]
    }

    /// The first `count` of them as messages of OAUTHBEARER (RFC 7628), in a file.
    pub fn messages(&self, scratch: &Scratch, name: &str, count: usize) -> PathBuf {
        let message = |token: &String| format!("n,,\x01auth=Bearer {token}\x01\x01\n");
        let messages: String = self.tokens.iter().take(count).map(message).collect();
        scratch.write(format!("{name}.messages"), messages)
    }
}

fn key(algorithm: &str) -> SigningKey {
    match algorithm {
        "ES256" => SigningKey::p256(),
        "ES384" => SigningKey::p384(),
        "EdDSA" => SigningKey::ed25519(),
        "HS256" => SigningKey::hmac(&[7; 32]),
        _ => SigningKey::rsa(),
    }
}
