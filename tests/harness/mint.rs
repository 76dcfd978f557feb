//! Keys and tokens (JWS, RFC 7515): good ones, and whatever an attacker would send.
//!
//! Header and claims are taken as they stand, so that a test can repeat a member, nest too deeply
//! or leave JSON altogether; and what signs a token need not be what its header says.

use super::base64;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding};
use aws_lc_rs::{hmac, signature::EcdsaSigningAlgorithm};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A key that signs, new with every call that makes one. Clones are the same key.
#[derive(Clone)]
pub struct SigningKey(Arc<Kind>);

enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

struct Curve {
    /// `crv` of its JWK.
    name: &'static str,
    /// The one algorithm of JWS that has it (RFC 7518, section 3.4).
    alg: &'static str,
}

impl SigningKey {
    /// RSA of 2048 bits, for RS256 to RS512 and PS256 to PS512. The only one that takes a while.
    pub fn rsa() -> Self {
        Self::of(Kind::Rsa(
            RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
        ))
    }

    /// For ES256.
    pub fn p256() -> Self {
        Self::ecdsa(
            "P-256",
            "ES256",
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        )
    }

    /// For ES384.
    pub fn p384() -> Self {
        Self::ecdsa(
            "P-384",
            "ES384",
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        )
    }

    /// For ES512.
    pub fn p521() -> Self {
        Self::ecdsa(
            "P-521",
            "ES512",
            &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        )
    }

    /// For EdDSA.
    pub fn ed25519() -> Self {
        Self::of(Kind::Ed25519(
            Ed25519KeyPair::generate().expect("an Ed25519 key"),
        ))
    }

    /// For HS256 to HS512, of any bytes: those of a public key, too.
    pub fn hmac(secret: &[u8]) -> Self {
        Self::of(Kind::Hmac(secret.to_vec()))
    }

    /// The public key as a file of Cyrus' `http_jwt_key_dir` has it; for an HMAC key the secret.
    pub fn pem(&self) -> String {
        match &*self.0 {
            Kind::Hmac(secret) => pem("HMAC KEY", secret),
            _ => pem("PUBLIC KEY", &self.public_der()),
        }
    }

    /// The public key as SubjectPublicKeyInfo, which an HMAC key has not.
    pub fn public_der(&self) -> Vec<u8> {
        let der = match &*self.0 {
            Kind::Rsa(pair) => pair.public_key().as_der(),
            Kind::Ecdsa(_, pair) => pair.public_key().as_der(),
            Kind::Ed25519(pair) => pair.public_key().as_der(),
            Kind::Hmac(_) => panic!("an HMAC key has no public half"),
        };
        der.expect("a public key").as_ref().to_vec()
    }

    /// The secret, which a public key has not.
    pub fn secret(&self) -> &[u8] {
        match &*self.0 {
            Kind::Hmac(secret) => secret,
            _ => panic!("a key pair is no secret that is shared"),
        }
    }

    /// The public key as a JWK (RFC 7517) with what makes the key and nothing else: `kid`, `alg`
    /// and `use` are the test's to add. For an HMAC key the secret.
    pub fn jwk(&self) -> Value {
        match &*self.0 {
            Kind::Rsa(pair) => {
                let (n, e) = modulus_and_exponent(pair.public_key().as_ref());
                json!({"kty": "RSA", "n": base64::encode_url(n), "e": base64::encode_url(e)})
            }
            Kind::Ecdsa(curve, pair) => {
                // 0x04 for an uncompressed point, and its coordinates in full length.
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

    /// The signature of a JWS by this key; of `none` it is empty.
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
                .expect("an RSA signature");
                signed
            }
            Kind::Ecdsa(curve, pair) => {
                assert_eq!(alg, curve.alg, "signing with {}", curve.name);
                let signed = pair.sign(&SystemRandom::new(), message);
                signed.expect("an ECDSA signature").as_ref().to_vec()
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

    /// A token signed as its header says.
    pub fn token(&self, header: &str, claims: &str) -> String {
        let parsed: Value = serde_json::from_str(header)
            .unwrap_or_else(|error| panic!("{error}: use token_by for {header}"));
        let alg = parsed["alg"].as_str().expect("a header with alg");
        self.token_by(alg, header, claims)
    }

    /// A token signed by this algorithm, whatever its header says.
    pub fn token_by(&self, alg: &str, header: &str, claims: &str) -> String {
        let unsigned = compact(header.as_bytes(), claims.as_bytes(), b"");
        let signed = self.sign(alg, unsigned.trim_end_matches('.').as_bytes());
        format!("{unsigned}{}", base64::encode_url(&signed))
    }

    fn ecdsa(name: &'static str, alg: &'static str, signs: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(signs).expect("an ECDSA key");
        Self::of(Kind::Ecdsa(Curve { name, alg }, pair))
    }

    fn of(kind: Kind) -> Self {
        Self(Arc::new(kind))
    }
}

/// The two numbers of an RSA key of 2048 bits in DER (RFC 8017, section A.1.1): a sequence of
/// 256 bytes behind a zero, and of three.
fn modulus_and_exponent(der: &[u8]) -> (&[u8], &[u8]) {
    let (n, e) = der.split_at(265);
    assert_eq!(
        (&n[..9], &e[..2]),
        (&b"\x30\x82\x01\x0a\x02\x82\x01\x01\0"[..], &b"\x02\x03"[..])
    );
    (&n[9..], &e[2..])
}

/// The compact serialization of any three parts.
pub fn compact(header: &[u8], claims: &[u8], signature: &[u8]) -> String {
    [header, claims, signature]
        .map(base64::encode_url)
        .join(".")
}

/// The time for `iat` and `exp`, in seconds.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
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
        _ => panic!("an RSA key does not sign by {alg}"),
    }
}

fn hmac_algorithm(alg: &str) -> hmac::Algorithm {
    match alg {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => panic!("an HMAC key does not sign by {alg}"),
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
