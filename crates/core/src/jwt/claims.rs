//! The claims of a token whose signature is verified, by name and type (RFC 7519, section 4).

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::json::{Json, Object};
use crate::error::{Failure, Reason};
use crate::platform::clock::WallTime;
use crate::policy::attribute_rules::values_of;

/// The claims of one token.
pub(crate) struct Claims<'t>(Object<'t>);

impl<'t> Claims<'t> {
    pub(crate) fn new(claims: Object<'t>) -> Self {
        Self(claims)
    }

    /// Whether the token has a claim of this name, with any value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// The claim of this name, with any value.
    pub(crate) fn member(&self, name: &str) -> Option<&Json<'t>> {
        self.0.get(name)
    }

    /// The claim at `path`, in which a dot separates the names of nested objects or is part of a
    /// name. If both readings lead to a claim, the path is ambiguous and there is no claim.
    pub(crate) fn at(&self, path: &str) -> Option<&Json<'t>> {
        self.place(path).map(|(_, _, value)| value)
    }

    /// The same, with the object that contains the claim and the claim's name in it.
    pub(crate) fn place<'c, 'p>(
        &'c self,
        path: &'p str,
    ) -> Option<(&'c Object<'t>, &'p str, &'c Json<'t>)> {
        let (object, name) = match path.contains('.') {
            false => (&self.0, path),
            true => match places(&self.0, path)[..] {
                [place] => place,
                _ => return None,
            },
        };
        Some((object, name, object.get(name)?))
    }

    /// The claim at `path`, if it is a text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.as_text()
    }

    /// The values of the claim at `path`, as texts: of a text, a number, a boolean, or an array of
    /// them.
    pub(crate) fn values(&self, path: &str) -> Vec<Cow<'_, str>> {
        match self.at(path) {
            Some(Json::Array(items)) => items.iter().filter_map(word).collect(),
            Some(value) => word(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The values that a rule compares: as [`Claims::values`], and of an object the names of its
    /// members, except members that are null or false. A list of words is split. A dot in `path`
    /// also descends into the objects of an array.
    pub(crate) fn rule_values(&self, path: &str) -> Vec<Cow<'_, str>> {
        let mut readings = readings(&[&self.0], path);
        // A path with more than one reading is ambiguous.
        let (Some(found), true) = (readings.pop(), readings.is_empty()) else {
            return Vec::new();
        };
        let values = found.into_iter().flat_map(|value| match value {
            Json::Text(text) => values_of(path, text),
            Json::Array(items) => items.iter().filter_map(word).collect(),
            Json::Object(object) => set_members(object).map(Cow::Borrowed).collect(),
            single => word(single).into_iter().collect(),
        });
        values.collect()
    }

    /// Whether a claim is `true`, as a boolean or, as some issuers write it, as a text.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        is_true(self.0.get(name))
    }

    /// A claim that is a time (NumericDate of RFC 7519, section 2); `None` if there is none.
    ///
    /// # Errors
    /// [`Reason::ClaimsMalformed`] if the value is no number, or outside the years 1970 to 9999.
    pub(crate) fn time(&self, name: &str) -> Result<Option<WallTime>, Failure> {
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

/// Whether a value is `true`, as a boolean or as a text.
pub(crate) fn is_true(value: Option<&Json<'_>>) -> bool {
    let said = value.and_then(word);
    said.as_deref() == Some("true")
}

/// The members that `path` leads to, as objects and the names of members in them.
fn places<'c, 't, 'p>(object: &'c Object<'t>, path: &'p str) -> Vec<(&'c Object<'t>, &'p str)> {
    let inner = path
        .match_indices('.')
        .flat_map(|(dot, _)| match object.get(&path[..dot]) {
            Some(Json::Object(inner)) => places(inner, &path[dot + 1..]),
            _ => Vec::new(),
        });
    let whole = object.get(path).map(|_| (object, path));
    whole.into_iter().chain(inner).collect()
}

/// The values that `path` leads to from these objects, once for each reading of its dots that leads
/// to a value.
fn readings<'c, 't>(objects: &[&'c Object<'t>], path: &str) -> Vec<Vec<&'c Json<'t>>> {
    let members = |name: &str| -> Vec<&'c Json<'t>> {
        let found = objects.iter().filter_map(|object| object.get(name));
        found.collect()
    };
    let whole = Some(members(path)).filter(|found| !found.is_empty());
    let inner = path.match_indices('.').flat_map(|(dot, _)| {
        let found = members(&path[..dot]);
        let objects: Vec<_> = found.into_iter().flat_map(objects_in).collect();
        match objects[..] {
            [] => Vec::new(),
            _ => readings(&objects, &path[dot + 1..]),
        }
    });
    whole.into_iter().chain(inner).collect()
}

/// The object that a value is, or the objects of the array that it is.
fn objects_in<'c, 't>(value: &'c Json<'t>) -> Vec<&'c Object<'t>> {
    let items = match value {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    let objects = items.iter().filter_map(|item| match item {
        Json::Object(object) => Some(object),
        _ => None,
    });
    objects.collect()
}

/// The names of the members that are neither null nor false (Zitadel: `{"mail": {…}}`).
fn set_members<'c>(object: &'c Object<'_>) -> impl Iterator<Item = &'c str> {
    let is_set = |value: &Json<'_>| !matches!(value, Json::Null | Json::Bool(false));
    object
        .members()
        .filter(move |(_, value)| is_set(value))
        .map(|(name, _)| name)
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
    fn dot_separates_names_or_is_part_of_a_name() {
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
    fn values_are_texts_numbers_and_booleans() {
        let claims = claims(json!({"a": true, "b": 7, "c": ["x", 1, null, {}], "d": null}));
        assert_eq!(claims.values("a"), ["true"]);
        assert_eq!(claims.values("b"), ["7"]);
        assert_eq!(claims.values("c"), ["x", "1"]);
        assert!(claims.values("d").is_empty());
    }

    #[test]
    fn rule_values_include_members_and_objects_of_arrays() {
        let claims = claims(json!({
            "groups": "no mail", "list": ["no mail", "x", 1, null, {"mail": 1}, ["y"]],
            "scope": "openid imap", "scp": ["a b"], "realm": {"scope": "c d"},
            "zitadel": {"mail": {"28670": "univ.example"}, "x": true, "y": "", "z": 0,
                        "off": false, "none": null},
            "roles": [{"name": "mail", "users": null}, {"name": ["staff", "it"]}, "name",
                      {"name": {"lists": {}, "wiki": false}}, {"other": 1}, [{"name": "deep"}]],
            "one": [{"two": [{"three": "a"}, {"three": "b"}]}, {"two": {"three": "c"}}],
            "flag": true, "number": 7, "nothing": null, "empty": {}, "array": [],
        }));
        for (path, expected) in [
            ("groups", &["no mail"][..]),
            ("list", &["no mail", "x", "1"]),
            ("scope", &["openid", "imap"]),
            ("scp", &["a b"]),
            ("realm.scope", &["c d"]),
            ("realm", &["scope"]),
            ("zitadel", &["mail", "x", "y", "z"]),
            ("zitadel.mail", &["28670"]),
            ("zitadel.off", &["false"]),
            ("roles.name", &["mail", "staff", "it", "lists"]),
            ("roles", &["name"]),
            ("one.two.three", &["a", "b", "c"]),
            ("flag", &["true"]),
            ("number", &["7"]),
            ("nothing", &[]),
            ("empty", &[]),
            ("array", &[]),
            ("groups.x", &[]),
            ("missing", &[]),
        ] {
            assert_eq!(claims.rule_values(path), expected, "{path}");
        }
        // The result would depend on the order of the array.
        assert_eq!(claims.text("roles.name"), None);
    }

    #[test]
    fn ambiguous_path_has_no_rule_values() {
        for ambiguous in [
            json!({"a.b": "mail", "a": {"b": "staff"}}),
            json!({"a.b": "mail", "a": [{"c": 1}, {"b": "staff"}]}),
            json!({"a": [{"b": "mail"}], "a.b": null}),
        ] {
            assert!(
                claims(ambiguous.clone()).rule_values("a.b").is_empty(),
                "{ambiguous}"
            );
        }
        let mixed = json!({"x": [{"a.b": "mail"}, {"a": {"b": "staff"}}]});
        assert!(claims(mixed).rule_values("x.a.b").is_empty());
        let clear = json!({"a": {"c": 1}, "a.b": "mail"});
        assert_eq!(claims(clear).rule_values("a.b"), ["mail"]);
    }

    #[test]
    fn times_are_numbers_between_1970_and_9999() {
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
