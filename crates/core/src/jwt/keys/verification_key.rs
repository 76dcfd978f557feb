//! A key of an issuer, bound to the algorithms that it may be used with.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use zeroize::Zeroizing;

use crate::policy::jws_algorithm::{Algorithm, Family};

/// A key that verifies signatures.
pub(crate) struct Key {
    kid: Option<String>,
    /// The file that contains the key, if there is one.
    file: Option<Arc<str>>,
    uses: Vec<Use>,
    material: Material,
}

/// An algorithm that the key may be used with, and the key in the form for it.
struct Use {
    algorithm: Algorithm,
    parsed: OnceLock<Option<ParsedPublicKey>>,
}

enum Material {
    /// A public key in DER (SubjectPublicKeyInfo of RFC 5280, section 4.1), or a point of a curve.
    Public(Vec<u8>),
    Secret(Zeroizing<Vec<u8>>),
}

impl Key {
    /// Parses a public key in DER, of any family.
    ///
    /// # Errors
    /// The problem.
    pub(crate) fn from_der(der: &[u8]) -> Result<Self, &'static str> {
        if PublicEncryptingKey::from_der(der).is_ok() {
            return Ok(Self::public(Family::Rsa, der));
        }
        // The DER is a SEQUENCE. A point without it does not say which curve it belongs to.
        let is_der = der.first() == Some(&0x30) && der.len() > 40;
        let fits = |family| is_der && parse(first_of(family), der).is_some();
        [Family::P256, Family::P384, Family::P521, Family::Ed25519]
            .into_iter()
            .find(|family| fits(*family))
            .map(|family| Self::public(family, der))
            .ok_or("is no public key of RSA (2048 to 8192 bits), P-256, P-384, P-521 or Ed25519")
    }

    /// Creates an RSA key of its modulus and exponent, both big-endian.
    ///
    /// # Errors
    /// The problem.
    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, &'static str> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let parsed = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| "is no RSA key")?;
        Self::from_der(parsed.as_ref()).map_err(|_| "is no RSA key of 2048 to 8192 bits")
    }

    /// Creates a key of a point of a curve, or an Ed25519 key (RFC 8032, section 5.1.5).
    ///
    /// # Errors
    /// The problem.
    pub(crate) fn point(family: Family, point: &[u8]) -> Result<Self, &'static str> {
        match parse(first_of(family), point) {
            Some(_) => Ok(Self::public(family, point)),
            None => Err("is no point of its curve"),
        }
    }

    /// Creates a key of a shared secret. It may be used with algorithms whose digest is not longer
    /// than the secret (RFC 7518, section 3.2).
    ///
    /// # Errors
    /// The secret is too short for all of them.
    pub(crate) fn secret(secret: &[u8]) -> Result<Self, &'static str> {
        let uses: Vec<Use> = Algorithm::of_family(Family::Hmac)
            .filter(|algorithm| secret.len() >= digest_length(*algorithm))
            .map(Use::new)
            .collect();
        if uses.is_empty() {
            return Err("is a secret of fewer than 32 bytes, which could be guessed");
        }
        Ok(Self {
            kid: None,
            file: None,
            uses,
            material: Material::Secret(Zeroizing::new(secret.to_vec())),
        })
    }

    fn public(family: Family, bytes: &[u8]) -> Self {
        Self {
            kid: None,
            file: None,
            uses: Algorithm::of_family(family).map(Use::new).collect(),
            material: Material::Public(bytes.to_vec()),
        }
    }

    /// Sets the `kid`.
    pub(crate) fn named(self, kid: Option<&str>) -> Self {
        Self {
            kid: kid.map(str::to_owned),
            ..self
        }
    }

    /// Sets the file that contains the key.
    pub(crate) fn of_file(self, file: &Arc<str>) -> Self {
        Self {
            file: Some(Arc::clone(file)),
            ..self
        }
    }

    /// Restricts the key to one algorithm; `None` if it does not work with that.
    pub(crate) fn only(mut self, algorithm: Algorithm) -> Option<Self> {
        self.uses.retain(|used| used.algorithm == algorithm);
        (!self.uses.is_empty()).then_some(self)
    }

    /// The `kid` in the issuer's set.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The file that contains the key, if there is one.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The algorithms that the key may be used with.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.uses.iter().map(|used| used.algorithm)
    }

    /// The SubjectPublicKeyInfo of an RSA key, or the bytes of another public key.
    pub(crate) fn der(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Public(bytes) => Some(bytes),
            Material::Secret(_) => None,
        }
    }

    /// Whether the key is a shared secret, whose owner can sign tokens.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.material, Material::Secret(_))
    }

    /// Whether the key may be used with `algorithm`.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.uses.iter().any(|used| used.algorithm == algorithm)
    }

    /// Whether `signature` is the key's signature of `message` with `algorithm`.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let Some(used) = self.uses.iter().find(|used| used.algorithm == algorithm) else {
            return false;
        };
        match &self.material {
            Material::Public(bytes) => used
                .parsed
                .get_or_init(|| parse(algorithm, bytes))
                .as_ref()
                .is_some_and(|key| key.verify_sig(message, signature).is_ok()),
            Material::Secret(secret) => {
                let key = hmac::Key::new(hmac_algorithm(algorithm), secret);
                hmac::verify(&key, message, signature).is_ok()
            }
        }
    }
}

impl Use {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            parsed: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.algorithms().collect();
        write!(f, "Key({:?} {algorithms:?})", self.kid)
    }
}

/// Any algorithm of a family, to find out whether a key belongs to it.
fn first_of(family: Family) -> Algorithm {
    Algorithm::of_family(family)
        .next()
        .unwrap_or(Algorithm::Rs256)
}

fn parse(algorithm: Algorithm, bytes: &[u8]) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(verification(algorithm)?, bytes).ok()
}

fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    let rsa: &'static RsaParameters = match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => return Some(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => return Some(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::Es512 => return Some(&signature::ECDSA_P521_SHA512_FIXED),
        Algorithm::EdDsa => return Some(&signature::ED25519),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
    };
    Some(rsa)
}

fn hmac_algorithm(algorithm: Algorithm) -> hmac::Algorithm {
    match algorithm {
        Algorithm::Hs384 => hmac::HMAC_SHA384,
        Algorithm::Hs512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

/// The length of an HMAC, in bytes.
fn digest_length(algorithm: Algorithm) -> usize {
    hmac_algorithm(algorithm).digest_algorithm().output_len()
}

/// Removes leading zeros of a number.
fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0);
    &number[start.unwrap_or(number.len())..]
}

#[cfg(test)]
#[path = "verification_key_tests.rs"]
mod tests;
