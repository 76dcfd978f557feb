//! The claims of a token whose signature is verified, by name and by type (RFC
//! 7519, section 4).

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::json::{Json, Object};
use crate::clock::WallTime;
use crate::outcome::{Failure, Reason};
use crate::rules::words;

/// The claims of one token.
pub(super) struct Claims<'t>(Object<'t>);

impl<'t> Claims<'t> {
    pub(super) fn new(claims: Object<'t>) -> Self {
        Self(claims)
    }

    /// Whether the token has a claim of this name, whatever it says.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// The claim of this name, whatever it says.
    pub(super) fn member(&self, name: &str) -> Option<&Json<'t>> {
        self.0.get(name)
    }

    /// The claim at `path`: a dot descends into an object, or is part of a name.
    /// If both lead to a claim, there is none: which is meant, nobody can tell.
    pub(super) fn at(&self, path: &str) -> Option<&Json<'t>> {
        if !path.contains('.') {
            return self.0.get(path);
        }
        match readings(&self.0, path)[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// A claim that is a text.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_text()
    }

    /// What a claim says, as a set of texts: a text, a number, a switch, or an
    /// array of them.
    pub(super) fn values(&self, path: &str) -> Vec<Cow<'_, str>> {
        match self.at(path) {
            Some(Json::Array(items)) => items.iter().filter_map(word).collect(),
            Some(value) => word(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The same for a rule, to which a single text may be a list.
    pub(super) fn set(&self, path: &str) -> Vec<Cow<'_, str>> {
        match self.at(path) {
            Some(Json::Text(text)) => words(text).collect(),
            _ => self.values(path),
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
            Json::Number(number) => number.as_f64().ok_or_else(absurd)?,
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
fn readings<'c, 't>(object: &'c Object<'t>, path: &str) -> Vec<&'c Json<'t>> {
    let inner = path
        .match_indices('.')
        .flat_map(|(dot, _)| match object.get(&path[..dot]) {
            Some(Json::Object(inner)) => readings(inner, &path[dot + 1..]),
            _ => Vec::new(),
        });
    object.get(path).into_iter().chain(inner).collect()
}

fn word<'c>(value: &'c Json<'_>) -> Option<Cow<'c, str>> {
    match value {
        Json::Text(text) => Some(Cow::Borrowed(text)),
        Json::Bool(switch) => Some(Cow::Borrowed(if *switch { "true" } else { "false" })),
        Json::Number(number) => Some(Cow::Owned(number.to_string())),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::json::object;
    use serde_json::{Value, json};

    fn claims(value: Value) -> Claims<'static> {
        let text = value.to_string().leak();
        Claims::new(object(text.as_bytes()).unwrap())
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
        assert_eq!(claims.set("c"), ["x", "1"]);
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
