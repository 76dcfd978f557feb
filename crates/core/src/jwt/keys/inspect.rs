//! Reports about keys for an administrator: which can be used, and why the others cannot. The
//! results are those of a login.

#![forbid(unsafe_code)]

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::unistd::Uid;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::db::rfc5912::{ID_RSASSA_PSS, RSA_ENCRYPTION};
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::file_source::FileKeySource;
use super::jwk_set;
use super::jwk_set::{Entry, Secrets};
use super::remote_source::RemoteKeySource;
use super::verification_key::Key;
use crate::config::{IssuerConfig, KeysAt};
use crate::error::{Failure, Reason};
use crate::platform::deadline::Deadline;
use crate::policy::jws_algorithm::Algorithm;

/// One key of a published set.
#[derive(Debug)]
pub struct KeyReport {
    /// The `kid`, if the key has one.
    pub kid: Option<String>,
    /// The type and size, such as `RSA 2048 bits` or `EC P-256`.
    pub kind: String,
    /// The algorithms that the key verifies, or why it is not used.
    pub usable: Result<Vec<Algorithm>, String>,
    /// The modulus of an RSA key, big-endian.
    pub modulus: Option<Vec<u8>>,
}

/// The published keys of an issuer.
#[derive(Debug)]
pub struct SetReport {
    /// The issuer's certificate in DER, if the request used TLS.
    pub certificate: Option<Vec<u8>>,
    /// All keys of the set.
    pub keys: Vec<KeyReport>,
}

/// The problems of key files that processes of `user`, if known, will read. RemoteKeySource keys are not
/// checked.
pub fn check_keys(config: &IssuerConfig, user: Option<Uid>) -> Vec<String> {
    let KeysAt::Path(path) = &config.keys else {
        return Vec::new();
    };
    let set = FileKeySource::read_by(path.clone(), user).examine();
    let fits = |algorithm: &Algorithm| set.keys.iter().any(|key| key.fits(*algorithm));
    let mut unusable = set.unusable;
    if let Some(allowed) = &config.algorithms
        && !set.keys.is_empty()
        && !allowed.iter().any(fits)
    {
        let allowed: Vec<&str> = allowed.iter().map(|algorithm| algorithm.name()).collect();
        let path = path.display();
        unusable.push(format!(
            "{path} has no key for {}, which are all that is allowed, so no token is taken; allow \
             what the keys are for (a secret must be as long as the digest)",
            allowed.join(" ")
        ));
    }
    unusable
}

/// Whether a file contains a shared secret, whoever owns the file.
pub fn contains_a_secret(path: &Path) -> bool {
    let set = FileKeySource::read_by(path.to_owned(), None).examine();
    set.keys.iter().any(Key::is_secret)
}

/// The moduli of the RSA keys in files, big-endian, each with the name of its file.
pub fn rsa_moduli(path: &Path) -> Vec<(String, Vec<u8>)> {
    let set = FileKeySource::new(path.to_owned()).examine();
    let of_file = |key: &Key| Some((key.file()?.to_owned(), rsa_modulus(key.der()?)?));
    set.keys.iter().filter_map(of_file).collect()
}

/// The modulus of an RSA key, big-endian. The key is a `SubjectPublicKeyInfo` (RFC 5280, section
/// 4.1.2.7) in DER.
pub fn rsa_modulus(key: &[u8]) -> Option<Vec<u8>> {
    let info = SubjectPublicKeyInfoRef::from_der(key).ok()?;
    if ![RSA_ENCRYPTION, ID_RSASSA_PSS].contains(&info.algorithm.oid) {
        return None;
    }
    let mut reader = SliceReader::new(info.subject_public_key.as_bytes()?).ok()?;
    // RSAPublicKey (RFC 8017, appendix A.1.1): the modulus and the exponent.
    let modulus = reader.sequence(|numbers| {
        let modulus = UintRef::decode(numbers)?;
        UintRef::decode(numbers)?;
        Ok::<_, x509_cert::der::Error>(modulus.as_bytes().to_vec())
    });
    modulus.ok()
}

/// Fetches an issuer's keys as a login would, without using the shared copy.
///
/// # Errors
/// Why there is no key set.
pub fn inspect_published(
    config: &IssuerConfig,
    deadline: &Deadline<'_>,
) -> Result<SetReport, Failure> {
    let (body, certificate) = RemoteKeySource::new(config).fetch_unshared(deadline)?;
    let unusable = |what: String| Failure::new(Reason::ReplyUnusable, format!("the answer {what}"));
    let entries = jwk_set::entries(&body).map_err(unusable)?;
    let keys = entries.iter().map(report).collect();
    Ok(SetReport { certificate, keys })
}

pub(crate) fn report(entry: &Entry) -> KeyReport {
    let usable = match entry.key(Secrets::Ignored) {
        Ok(Some(key)) => {
            let fits = |algorithm: &Algorithm| key.fits(*algorithm);
            Ok(Algorithm::ALL.iter().copied().filter(fits).collect())
        }
        Ok(None) => Err("is for something else than signatures that are taken here".to_owned()),
        Err(problem) => Err(problem),
    };
    KeyReport {
        kid: entry.text("kid").map(str::to_owned),
        kind: kind(entry),
        usable,
        modulus: entry.text("n").map(number),
    }
}

fn kind(entry: &Entry) -> String {
    match (entry.text("kty"), entry.text("crv"), entry.text("n")) {
        (Some("RSA"), _, Some(n)) => format!("RSA {} bits", bits(n)),
        (Some(kty), Some(crv), _) => format!("{kty} {crv}"),
        (Some(kty), None, _) => kty.to_owned(),
        (None, ..) => "of no type".to_owned(),
    }
}

/// Decodes a number in base64url; empty if it is malformed.
fn number(text: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    bytes.unwrap_or_default()
}

/// The length of a number in base64url, in bits, without leading zeros.
fn bits(text: &str) -> usize {
    let bytes = number(text);
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    match bytes.get(zeros) {
        Some(first) => (bytes.len() - zeros) * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(entry: serde_json::Value) -> KeyReport {
        let set = json!({ "keys": [entry] }).to_string();
        super::report(&jwk_set::entries(set.as_bytes()).unwrap()[0])
    }

    #[test]
    fn report_names_the_kind_of_a_key_and_why_it_is_not_used() {
        let point = "EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84";
        let other = "kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY";
        let good = report(json!({"kty": "EC", "crv": "P-256", "kid": "a", "x": point, "y": other}));
        assert_eq!((good.kid.as_deref(), &*good.kind), (Some("a"), "EC P-256"));
        assert_eq!(good.usable, Ok(vec![Algorithm::Es256]));
        let short = report(json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}));
        assert_eq!(short.kind, "RSA 17 bits");
        assert!(short.usable.is_err());
        let other = report(json!({"kty": "AKP", "use": "enc"}));
        assert!(other.usable.unwrap_err().contains("something else"));
    }
}
