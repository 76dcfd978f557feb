//! The claims of a token whose signature is verified, by name and by type (RFC
//! 7519, section 4).

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::clock::WallTime;
use crate::outcome::{Failure, Reason};

/// The claims of one token.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Whether the token has a claim of this name, whatever it says.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The claim at `path`: a dot descends into an object, or is part of a name.
    /// If both lead to a claim, there is none: which is meant, nobody can tell.
    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        match readings(&self.0, path)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// A claim that is a text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// What a claim says, as a set of texts: a text, a number, a switch, or an
    /// array of them.
    pub(super) fn values(&self, path: &str) -> Vec<Cow<'_, str>> {
        match self.at(path) {
            Some(Value::Array(items)) => items.iter().filter_map(word).collect(),
            Some(value) => word(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// A claim that is a time (NumericDate of RFC 7519, section 2), if it is
    /// there.
    ///
    /// # Errors
    /// [`Reason::ClaimsMalformed`] if it is no number, or nobody can mean it.
    pub(super) fn time(&self, name: &str) -> Result<Option<WallTime>, Failure> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let absurd = || {
            let what = format!("{name} is not a time between 1970 and 9999");
            Failure::new(Reason::ClaimsMalformed, what)
        };
        let seconds = match value {
            Value::Number(number) => number.as_f64().ok_or_else(absurd)?,
            _ => return Err(absurd()),
        };
        let latest = WallTime::LATEST.as_millis() as f64 / 1_000.0;
        if !(0.0..=latest).contains(&seconds) {
            return Err(absurd());
        }
        Ok(Some(WallTime::from_millis((seconds * 1_000.0) as u64)))
    }
}

/// Whatever `path` leads to.
fn readings<'c>(object: &'c Map<String, Value>, path: &str) -> Vec<&'c Value> {
    let inner = path.match_indices('.').flat_map(|(dot, _)| {
        let inner = object.get(&path[..dot]).and_then(Value::as_object);
        inner.map_or_else(Vec::new, |inner| readings(inner, &path[dot + 1..]))
    });
    object.get(path).into_iter().chain(inner).collect()
}

fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(object) => Claims::new(object),
            _ => panic!("{value}"),
        }
    }

    #[test]
    fn a_dot_descends_and_may_be_part_of_a_name() {
        let claims = claims(json!({
            "realm_access": {"roles": ["staff", "mail"]},
            "https://univ.fr/claims": {"role": "admin"},
            "resource_access": {"web.mail": {"roles": ["user"]}},
            "a.b": "whole", "a": {"b": "descended", "c": "d"}, "e.f": "g",
        }));
        assert_eq!(claims.values("realm_access.roles"), ["staff", "mail"]);
        assert_eq!(claims.values("https://univ.fr/claims.role"), ["admin"]);
        assert_eq!(claims.values("resource_access.web.mail.roles"), ["user"]);
        assert_eq!(claims.values("e.f"), ["g"]);
        assert!(claims.at("a.b").is_none());
        assert_eq!(claims.values("a.c"), ["d"]);
        assert!(claims.values("a.c.d").is_empty());
        assert!(claims.values("realm_access").is_empty());
    }

    #[test]
    fn what_a_claim_says_is_a_set_of_texts() {
        let claims = claims(json!({"a": true, "b": 7, "c": ["x", 1, null, {}], "d": null}));
        assert_eq!(claims.values("a"), ["true"]);
        assert_eq!(claims.values("b"), ["7"]);
        assert_eq!(claims.values("c"), ["x", "1"]);
        assert!(claims.values("d").is_empty());
    }

    #[test]
    fn times_are_numbers_that_somebody_can_mean() {
        let time = |value: Value| claims(json!({"exp": value})).time("exp");
        assert_eq!(time(json!(1_500)).unwrap().unwrap().as_millis(), 1_500_000);
        assert_eq!(time(json!(1.25)).unwrap().unwrap().as_millis(), 1_250);
        assert_eq!(
            time(json!(1.5e9)).unwrap().unwrap().as_millis(),
            1_500_000_000_000
        );
        for absurd in [
            json!("1500"),
            json!(null),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(253_402_300_801_u64),
            json!(u64::MAX),
            json!([1500]),
            json!(true),
        ] {
            assert!(time(absurd.clone()).is_err(), "{absurd}");
        }
        assert_eq!(claims(json!({})).time("exp").unwrap(), None);
    }
}
