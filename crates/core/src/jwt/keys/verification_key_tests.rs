//! Tests of keys: generated keys sign, and no other key verifies.

use super::*;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};

fn der(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

/// A key pair of a curve: the public key in DER and as a point, and a signature of "message".
fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
    (
        der(pair.public_key()),
        pair.public_key().as_ref().to_vec(),
        signature.as_ref().to_vec(),
    )
}

/// The algorithms with which the key verifies the signature of "message".
fn takers(key: &Key, signature: &[u8]) -> Vec<Algorithm> {
    Algorithm::ALL
        .iter()
        .copied()
        .filter(|algorithm| key.verifies(*algorithm, b"message", signature))
        .collect()
}

#[test]
fn ec_key_verifies_only_the_algorithm_of_its_curve() {
    for (signing, family, algorithm) in [
        (
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Family::P256,
            Algorithm::Es256,
        ),
        (
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Family::P384,
            Algorithm::Es384,
        ),
        (
            &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            Family::P521,
            Algorithm::Es512,
        ),
    ] {
        let (der, point, signature) = ec(signing);
        for key in [
            Key::from_der(&der).unwrap(),
            Key::point(family, &point).unwrap(),
        ] {
            assert_eq!(takers(&key, &signature), [algorithm]);
            assert!(!key.verifies(algorithm, b"another", &signature));
            assert!(!key.verifies(algorithm, b"message", &vec![0; signature.len()]));
            assert!(!key.verifies(algorithm, b"message", &signature[1..]));
            assert!(!key.verifies(algorithm, b"message", b""));
        }
        let other = if family == Family::P256 {
            Family::P384
        } else {
            Family::P256
        };
        assert!(Key::point(other, &point).is_err());
        assert!(Key::point(other, &der).is_err());
        assert!(Key::point(family, &point[..point.len() - 1]).is_err());
    }
}

#[test]
fn rsa_key_verifies_all_rsa_algorithms() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    let key = Key::from_der(&der(pair.public_key())).unwrap();
    for (encoding, algorithm) in [
        (&signature::RSA_PKCS1_SHA256, Algorithm::Rs256),
        (&signature::RSA_PKCS1_SHA384, Algorithm::Rs384),
        (&signature::RSA_PKCS1_SHA512, Algorithm::Rs512),
    ] {
        pair.sign(encoding, &random, b"message", &mut signature)
            .unwrap();
        assert_eq!(takers(&key, &signature), [algorithm]);
    }
    for (encoding, algorithm) in [
        (&signature::RSA_PSS_SHA256, Algorithm::Ps256),
        (&signature::RSA_PSS_SHA384, Algorithm::Ps384),
        (&signature::RSA_PSS_SHA512, Algorithm::Ps512),
    ] {
        pair.sign(encoding, &random, b"message", &mut signature)
            .unwrap();
        assert_eq!(takers(&key, &signature), [algorithm]);
    }
    // The public key used as a secret.
    let digest = hmac::Key::new(hmac::HMAC_SHA256, &der(pair.public_key()));
    let forged = hmac::sign(&digest, b"message");
    assert_eq!(takers(&key, forged.as_ref()), []);
    let only = key.only(Algorithm::Ps512).unwrap();
    assert_eq!(takers(&only, &signature), [Algorithm::Ps512]);
    assert!(!only.fits(Algorithm::Rs256));
    assert!(only.only(Algorithm::Rs256).is_none());
}

#[test]
fn ed25519_key_verifies_eddsa() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let signature = pair.sign(b"message");
    for key in [
        Key::from_der(&der(pair.public_key())).unwrap(),
        Key::point(Family::Ed25519, pair.public_key().as_ref()).unwrap(),
    ] {
        assert_eq!(takers(&key, signature.as_ref()), [Algorithm::EdDsa]);
        assert_eq!(takers(&key, &[0; 64]), []);
    }
}

#[test]
fn secret_must_be_as_long_as_the_digest() {
    assert!(Key::secret(&[7; 31]).is_err());
    let fits = |length: usize| {
        let key = Key::secret(&vec![7; length]).unwrap();
        let fits = |algorithm: &&Algorithm| key.fits(**algorithm);
        Algorithm::ALL.iter().filter(fits).count()
    };
    assert_eq!([fits(32), fits(48), fits(64)], [1, 2, 3]);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, &[7; 64]), b"message");
    let key = Key::secret(&[7; 64]).unwrap();
    assert_eq!(takers(&key, signature.as_ref()), [Algorithm::Hs384]);
    assert!(!format!("{key:?}").contains("7, 7"));
}

#[test]
fn weak_rsa_key_is_rejected() {
    assert!(Key::rsa(&[0xff; 128], &[1, 0, 1]).is_err());
    assert!(Key::rsa(&[], &[1, 0, 1]).is_err());
    assert!(Key::rsa(&[0xff; 256], &[]).is_err());
    assert!(Key::from_der(b"").is_err());
    assert!(Key::from_der(&[0; 32]).is_err());
}
