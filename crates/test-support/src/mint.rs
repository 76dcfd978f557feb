//! Generates keys and signs tokens (JWS, RFC 7515), valid ones and attacks.
//!
//! Header and claims are arbitrary text: a test can repeat a member, nest too deeply or use
//! something other than JSON. The signature may use another algorithm than the header names.

use super::base64;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding};
use aws_lc_rs::{hmac, signature::EcdsaSigningAlgorithm};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A newly generated signing key. Clones share the key.
#[derive(Clone)]
pub struct SigningKey(Arc<Kind>);

enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

struct Curve {
    /// The `crv` member of the JWK.
    name: &'static str,
    /// The JWS algorithm for this curve (RFC 7518, section 3.4).
    alg: &'static str,
}

impl SigningKey {
    /// Generates a 2048-bit RSA key for RS256 to RS512 and PS256 to PS512. This is slow.
    pub fn rsa() -> Self {
        Self::of(Kind::Rsa(
            RsaKeyPair::generate(KeySize::Rsa2048).expect("cannot generate an RSA key"),
        ))
    }

    /// Generates a key for ES256.
    pub fn p256() -> Self {
        Self::ecdsa(
            "P-256",
            "ES256",
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        )
    }

    /// Generates a key for ES384.
    pub fn p384() -> Self {
        Self::ecdsa(
            "P-384",
            "ES384",
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        )
    }

    /// Generates a key for ES512.
    pub fn p521() -> Self {
        Self::ecdsa(
            "P-521",
            "ES512",
            &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        )
    }

    /// Generates a key for EdDSA.
    pub fn ed25519() -> Self {
        Self::of(Kind::Ed25519(
            Ed25519KeyPair::generate().expect("cannot generate an Ed25519 key"),
        ))
    }

    /// Creates a key for HS256 to HS512 from any bytes, even those of a public key.
    pub fn hmac(secret: &[u8]) -> Self {
        Self::of(Kind::Hmac(secret.to_vec()))
    }

    /// Returns the public key, or the secret of an HMAC key, in the PEM format of Cyrus'
    /// `http_jwt_key_dir`.
    pub fn pem(&self) -> String {
        match &*self.0 {
            Kind::Hmac(secret) => pem("HMAC KEY", secret),
            _ => pem("PUBLIC KEY", &self.public_der()),
        }
    }

    /// Returns the public key as SubjectPublicKeyInfo in DER. Panics for an HMAC key.
    pub fn public_der(&self) -> Vec<u8> {
        let der = match &*self.0 {
            Kind::Rsa(pair) => pair.public_key().as_der(),
            Kind::Ecdsa(_, pair) => pair.public_key().as_der(),
            Kind::Ed25519(pair) => pair.public_key().as_der(),
            Kind::Hmac(_) => panic!("an HMAC key has no public key"),
        };
        der.expect("cannot encode the public key").as_ref().to_vec()
    }

    /// Returns the secret of an HMAC key. Panics for a key pair.
    pub fn secret(&self) -> &[u8] {
        match &*self.0 {
            Kind::Hmac(secret) => secret,
            _ => panic!("a key pair has no shared secret"),
        }
    }

    /// Returns the public key, or the secret of an HMAC key, as a JWK (RFC 7517) with only the
    /// required members. A test adds `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        match &*self.0 {
            Kind::Rsa(pair) => {
                let (n, e) = modulus_and_exponent(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64::encode_url(n), "e": base64::encode_url(e)})
            }
            Kind::Ecdsa(curve, pair) => {
                // The first byte, 0x04, marks an uncompressed point.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let (x, y) = (base64::encode_url(x), base64::encode_url(y));
                json!({"kty": "EC", "crv": curve.name, "x": x, "y": y})
            }
            Kind::Ed25519(pair) => {
                let x = base64::encode_url(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x})
            }
            Kind::Hmac(secret) => json!({"kty": "oct", "k": base64::encode_url(secret)}),
        }
    }

    /// Signs a message with this key. The signature is empty if `alg` is `none`.
    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match &*self.0 {
            _ if alg == "none" => Vec::new(),
            Kind::Rsa(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(
                    rsa_encoding(alg),
                    &SystemRandom::new(),
                    message,
                    &mut signed,
                )
                .expect("cannot sign with the RSA key");
                signed
            }
            Kind::Ecdsa(curve, pair) => {
                assert_eq!(alg, curve.alg, "signing with {}", curve.name);
                let signed = pair.sign(&SystemRandom::new(), message);
                signed
                    .expect("cannot sign with the ECDSA key")
                    .as_ref()
                    .to_vec()
            }
            Kind::Ed25519(pair) => {
                assert_eq!(alg, "EdDSA", "signing with Ed25519");
                pair.sign(message).as_ref().to_vec()
            }
            Kind::Hmac(secret) => {
                let key = hmac::Key::new(hmac_algorithm(alg), secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
        }
    }

    /// Creates a token and signs it with the algorithm in its header.
    pub fn token(&self, header: &str, claims: &str) -> String {
        let parsed: Value = serde_json::from_str(header)
            .unwrap_or_else(|error| panic!("{error}: use token_by for {header}"));
        let alg = parsed["alg"].as_str().expect("the header has no alg");
        self.token_by(alg, header, claims)
    }

    /// Creates a token and signs it with `alg`, regardless of its header.
    pub fn token_by(&self, alg: &str, header: &str, claims: &str) -> String {
        let unsigned = compact(header.as_bytes(), claims.as_bytes(), b"");
        let signed = self.sign(alg, unsigned.trim_end_matches('.').as_bytes());
        format!("{unsigned}{}", base64::encode_url(&signed))
    }

    fn ecdsa(name: &'static str, alg: &'static str, signs: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(signs).expect("cannot generate an ECDSA key");
        Self::of(Kind::Ecdsa(Curve { name, alg }, pair))
    }

    fn of(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }
}

/// Splits the DER encoding of a 2048-bit RSA public key (RFC 8017, section A.1.1): a sequence of a
/// 256-byte modulus, preceded by a zero byte, and a 3-byte exponent.
fn modulus_and_exponent(der: &[u8]) -> (&[u8], &[u8]) {
    let (n, e) = der.split_at(265);
    assert_eq!(
        (&n[..9], &e[..2]),
        (&b"\x30\x82\x01\x0a\x02\x82\x01\x01\0"[..], &b"\x02\x03"[..])
    );
    (&n[9..], &e[2..])
}

/// Returns the compact serialization of three arbitrary parts.
pub fn compact(header: &[u8], claims: &[u8], signature: &[u8]) -> String {
    [header, claims, signature]
        .map(base64::encode_url)
        .join(".")
}

/// Returns the current time for `iat` and `exp`, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is before 1970")
        .as_secs()
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::encode(bytes);
    let lines: String = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line) + "\n")
        .collect();
    format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
}

fn rsa_encoding(alg: &str) -> &'static dyn RsaEncoding {
    match alg {
        "RS256" => &signature::RSA_PKCS1_SHA256,
        "RS384" => &signature::RSA_PKCS1_SHA384,
        "RS512" => &signature::RSA_PKCS1_SHA512,
        "PS256" => &signature::RSA_PSS_SHA256,
        "PS384" => &signature::RSA_PSS_SHA384,
        "PS512" => &signature::RSA_PSS_SHA512,
        _ => panic!("an RSA key does not support {alg}"),
    }
}

fn hmac_algorithm(alg: &str) -> hmac::Algorithm {
    match alg {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => panic!("an HMAC key does not support {alg}"),
    }
}

/// 65537^128, big-endian: a modulus of 2,049 bits with the ROCA fingerprint, whose first bit is 0.
pub fn vulnerable_modulus() -> Vec<u8> {
    let mut digits = vec![1_u32];
    for _ in 0..128 {
        let mut carry = 0_u64;
        for digit in &mut digits {
            let product = u64::from(*digit) * 65_537 + carry;
            *digit = u32::try_from(product & 0xffff_ffff).expect("32 bits");
            carry = product >> 32;
        }
        if carry > 0 {
            digits.push(u32::try_from(carry).expect("32 bits"));
        }
    }
    let bytes: Vec<u8> = digits
        .iter()
        .rev()
        .flat_map(|digit| digit.to_be_bytes())
        .collect();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}
