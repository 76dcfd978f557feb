//! Parses a JWK set (RFC 7517, section 5). A key that is unknown or malformed does not affect the
//! others.

#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::value::RawValue;

use super::key_set::KeySet;
use super::verification_key::Key;
use crate::jwt::json;
use crate::platform::log::quoted;
use crate::policy::jws_algorithm::{Algorithm, Family};

/// The maximum number of keys of one set.
const MAX_KEYS: usize = 100;

/// Whether a set may contain shared secrets: a published set must not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    Taken,
    Ignored,
}

/// The keys of a set that can verify signatures.
///
/// # Errors
/// The problem, if the text is no JWK set.
pub(crate) fn read(bytes: &[u8], secrets: Secrets) -> Result<KeySet, String> {
    let entries = entries(bytes)?;
    let mut set = KeySet::default();
    if entries.len() > MAX_KEYS {
        let complaint = format!(
            "only the first {MAX_KEYS} of {} keys are used",
            entries.len()
        );
        set.unusable.push(complaint);
    }
    for (index, entry) in entries.iter().take(MAX_KEYS).enumerate() {
        match entry.key(secrets) {
            Ok(Some(key)) => set.keys.push(key),
            Ok(None) => {}
            Err(problem) => {
                let kid = entry.text("kid");
                let kid = kid.map_or_else(String::new, |kid| format!(" {}", quoted(kid)));
                set.unusable
                    .push(format!("key {}{kid} {problem}", index + 1));
            }
        }
    }
    Ok(set)
}

/// One key of a set, as JSON.
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// Why the key is not used, if it has a duplicate member.
    problem: Option<String>,
}

/// The keys of a set, each parsed separately.
///
/// # Errors
/// The problem, if the text is no JWK set.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let entries = json::array_of(bytes, "keys").map_err(|what| match &*what {
        "has no keys" => "is no JWK set: it has no keys".to_owned(),
        _ => what,
    })?;
    let entry = |raw: &&RawValue| Entry {
        value: serde_json::from_str(raw.get()).unwrap_or_default(),
        problem: json::object(raw.get().as_bytes()).err(),
    };
    Ok(entries.iter().map(entry).collect())
}

impl Entry {
    /// The key; `None` if it has another purpose.
    pub(crate) fn key(&self, secrets: Secrets) -> Result<Option<Key>, String> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None => key(&self.value, secrets),
        }
    }

    /// A member that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        text(&self.value, name)
    }
}

/// The key of an entry; `None` if it has another purpose.
fn key(entry: &Value, secrets: Secrets) -> Result<Option<Key>, String> {
    if !is_for_signatures(entry) {
        return Ok(None);
    }
    if entry.get("d").is_some() {
        let remedy = "leave the public one here, and make a new pair";
        return Err(format!(
            "is a private key, which only the issuer must have; {remedy}"
        ));
    }
    let key = match (text(entry, "kty"), text(entry, "crv")) {
        (Some("RSA"), _) => Key::rsa(&number(entry, "n")?, &number(entry, "e")?)?,
        (Some("EC"), Some("P-256")) => point(entry, Family::P256, 32)?,
        (Some("EC"), Some("P-384")) => point(entry, Family::P384, 48)?,
        (Some("EC"), Some("P-521")) => point(entry, Family::P521, 66)?,
        (Some("OKP"), Some("Ed25519")) => Key::point(Family::Ed25519, &number(entry, "x")?)?,
        (Some("oct"), _) if secrets == Secrets::Taken => Key::secret(&number(entry, "k")?)?,
        (Some("oct"), _) => return Err("is a secret that was published".to_owned()),
        // Other types and curves are ignored (section 5).
        (Some(_), _) => return Ok(None),
        (None, _) => return Err("has no kty".to_owned()),
    };
    let key = key.named(text(entry, "kid"));
    let Some(algorithm) = entry.get("alg") else {
        return Ok(Some(key));
    };
    let algorithm = algorithm.as_str().and_then(Algorithm::from_name);
    match algorithm {
        // The key is for an algorithm that is not supported, such as encryption.
        None => Ok(None),
        Some(algorithm) => key
            .only(algorithm)
            .map(Some)
            .ok_or_else(|| format!("is not of the kind that {algorithm} needs")),
    }
}

/// Whether `use` and `key_ops` allow signatures (sections 4.2 and 4.3).
fn is_for_signatures(entry: &Value) -> bool {
    let of_use = entry.get("use").is_none_or(|purpose| purpose == "sig");
    let of_operations = entry.get("key_ops").is_none_or(|operations| {
        let operations = operations.as_array();
        operations.is_some_and(|list| list.iter().any(|operation| operation == "verify"))
    });
    of_use && of_operations
}

/// An uncompressed point of a curve (SEC 1, section 2.3.3) with coordinates of `length` bytes.
fn point(entry: &Value, family: Family, length: usize) -> Result<Key, String> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = number(entry, name)?;
        if coordinate.len() != length {
            return Err(format!("has an {name} that is not of {length} bytes"));
        }
        point.extend_from_slice(&coordinate);
    }
    Ok(Key::point(family, &point)?)
}

fn text<'e>(entry: &'e Value, name: &str) -> Option<&'e str> {
    entry.get(name).and_then(Value::as_str)
}

/// A member in base64url. Padding is tolerated.
fn number(entry: &Value, name: &str) -> Result<Vec<u8>, String> {
    let text = text(entry, name).ok_or_else(|| format!("has no {name}"))?;
    URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|error| format!("has an {name} that is not base64url: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ec() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "EVs_o5-uQbTjL3chynL4wXgUg2R9q9UU8I5mEovUf84",
            "y": "kGe5DgSIycKp8w9aJmoHhB1sB3QTugfnRWm5nU_TzsY"
        })
    }

    fn with(changes: Value) -> Value {
        let mut entry = ec();
        for (name, value) in changes.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    }

    fn set(entries: Vec<Value>) -> KeySet {
        let text = json!({ "keys": entries }).to_string();
        read(text.as_bytes(), Secrets::Ignored).unwrap()
    }

    #[test]
    fn entry_without_alg_fits_all_algorithms_of_its_type() {
        let set = set(vec![with(json!({"kid": "a"}))]);
        assert_eq!(set.keys[0].kid(), Some("a"));
        assert!(set.keys[0].fits(Algorithm::Es256));
        assert!(set.unusable.is_empty());
    }

    #[test]
    fn keys_for_other_purposes_are_ignored() {
        let set = set(vec![
            with(json!({"use": "enc"})),
            with(json!({"key_ops": ["encrypt"]})),
            with(json!({"alg": "ECDH-ES"})),
            with(json!({"crv": "secp256k1"})),
            with(json!({"kty": "AKP", "alg": "ML-DSA-44"})),
            with(json!({"use": "sig", "key_ops": ["verify"], "alg": "ES256"})),
        ]);
        assert_eq!(set.keys.len(), 1);
        assert!(set.unusable.is_empty(), "{:?}", set.unusable);
    }

    #[test]
    fn broken_entries_spoil_no_other_and_are_named() {
        let set = set(vec![
            json!({"kid": "b1"}),
            json!("not an object"),
            with(json!({"kid": "b2", "x": "!!!"})),
            with(json!({"x": "AA"})),
            with(json!({"y": null})),
            with(json!({"alg": "RS256"})),
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "e": "AQAB"}),
            with(json!({"d": "AA"})),
            json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 64])}),
            ec(),
        ]);
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.unusable.len(), 10, "{:#?}", set.unusable);
        assert!(set.unusable[0].contains("key 1 b1 has no kty"));
        assert!(set.unusable[9].contains("published"));
    }

    #[test]
    fn key_with_a_duplicate_member_is_reported_and_others_are_used() {
        let good = with(json!({"kid": "good", "use": "sig", "alg": "ES256"})).to_string();
        let twice = |member: &str| {
            format!(
                "{},{member}}}",
                good.replace("good", "bad").trim_end_matches('}')
            )
        };
        for member in [
            "\"use\":\"enc\"",
            "\"use\":\"sig\"",
            "\"\\u0075se\":\"enc\"",
            "\"alg\":\"ES384\"",
            "\"kid\":\"other\"",
            "\"kty\":\"EC\"",
            "\"x\":\"AA\"",
            "\"ext\":{\"a\":1,\"a\":2}",
        ] {
            for keys in [[good.clone(), twice(member)], [twice(member), good.clone()]] {
                let text = format!("{{\"keys\":[{}]}}", keys.join(","));
                let set = read(text.as_bytes(), Secrets::Ignored).unwrap();
                let kids: Vec<_> = set.keys.iter().map(Key::kid).collect();
                assert_eq!(kids, [Some("good")], "{member}");
                assert_eq!(set.unusable.len(), 1, "{member}");
                let complaint = &set.unusable[0];
                assert!(complaint.contains("a member twice"), "{complaint}");
            }
        }
        let sets = format!("{{\"keys\":[{good}],\"keys\":[]}}");
        assert!(read(sets.as_bytes(), Secrets::Ignored).is_err());
    }

    #[test]
    fn local_set_may_contain_secrets() {
        let text = json!({"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 64])}]});
        let set = read(text.to_string().as_bytes(), Secrets::Taken).unwrap();
        assert!(set.keys[0].fits(Algorithm::Hs512));
    }

    #[test]
    fn other_documents_are_no_key_set() {
        for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, "\u{feff}{}"] {
            assert!(read(text.as_bytes(), Secrets::Ignored).is_err(), "{text}");
        }
        assert!(set(vec![]).keys.is_empty());
    }
}
