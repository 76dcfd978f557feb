//! A JSON parser that rejects ambiguous input: duplicate members (RFC 7515, section 4; RFC 8725,
//! section 2.4) and deep nesting.
//!
//! Values borrow from the text, because a token has dozens of them and is parsed once.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use serde_core::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
    Array(Vec<Json<'t>>),
    Object(Object<'t>),
}

/// A JSON object: its members in the order of the text, without duplicates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object<'t>(Vec<(Cow<'t, str>, Json<'t>)>);

/// Parses a text that is an object.
///
/// # Errors
/// The problem.
pub(crate) fn object(text: &[u8]) -> Result<Object<'_>, String> {
    // serde_json limits nesting to 128 levels.
    match serde_json::from_slice(text) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("is not a JSON object".to_owned()),
        Err(error) => Err(format!("is not JSON that can be read: {error}")),
    }
}

/// The texts of the elements in the array `name` of an object. Each element is parsed separately,
/// so that a malformed one does not affect the others.
///
/// # Errors
/// The problem of the object, or that it has no such array.
pub(crate) fn array_of<'t>(text: &'t [u8], name: &str) -> Result<Vec<&'t RawValue>, String> {
    let members: Members<'t> =
        serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    let mut found = members.0.into_iter().filter(|(found, _)| found == name);
    match (found.next(), found.next()) {
        (Some((_, array)), None) => serde_json::from_str(array.get()).ok(),
        (Some(_), Some(_)) => return Err(format!("has {name} twice")),
        (None, _) => None,
    }
    .ok_or_else(|| format!("has no {name}"))
}

/// The members of an object whose values are not parsed.
struct Members<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Members<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some((Name(name), value)) = members.next_entry()? {
            found.push((name, value));
        }
        Ok(Members(found))
    }
}

impl<'t> Object<'t> {
    /// Up to this number of members, each is compared with each to find duplicates.
    const MAX_COMPARED_PAIRWISE: usize = 16;

    pub(crate) fn get(&self, name: &str) -> Option<&Json<'t>> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        Some(value)
    }

    /// The members, in the order of the text.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Json<'t>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn has_a_member_twice(&self) -> bool {
        let names = self.0.iter().map(|(name, _)| name.as_ref());
        if self.0.len() <= Self::MAX_COMPARED_PAIRWISE {
            return names
                .clone()
                .enumerate()
                .any(|(index, name)| names.clone().take(index).any(|other| other == name));
        }
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }
}

impl Json<'_> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Formats a value as JSON without escapes. A text at the top level has no quotes.
impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(switch) => write!(f, "{switch}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (name, value)) in object.members().enumerate() {
                    write!(f, "{}{name}: {value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        let number = Number::from_f64(value);
        number
            .map(Json::Number)
            .ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object(Vec::new());
        while let Some((Name(name), value)) = members.next_entry()? {
            object.0.push((name, value));
        }
        if object.has_a_member_twice() {
            // Parsers differ in which of two members they use.
            return Err(A::Error::custom("an object has a member twice"));
        }
        Ok(Json::Object(object))
    }
}

/// The name of a member.
struct Name<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_str(JsonVisitor)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a name that is no text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_parsed() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x\u00e9"],"b":{"c":{}},"\u0064":"e"}"#;
        let read = object(text.as_bytes()).unwrap();
        let number = |number: f64| Json::Number(Number::from_f64(number).unwrap());
        let array = vec![
            Json::Number(1.into()),
            Json::Number((-2).into()),
            number(3.5),
            Json::Bool(true),
            Json::Null,
            Json::Text("xé".into()),
        ];
        assert_eq!(read.get("a"), Some(&Json::Array(array)));
        assert!(matches!(read.get("b"), Some(Json::Object(b)) if b.get("c").is_some()));
        assert_eq!(read.get("d").and_then(Json::as_text), Some("e"));
        assert_eq!(read.get("e"), None);
    }

    #[test]
    fn duplicate_members_are_refused() {
        let many: String = (0..50).map(|number| format!("\"m{number}\":1,")).collect();
        for text in [
            r#"{"sub":"alice","sub":"bob"}"#,
            r#"{"sub":"alice","\u0073ub":"bob"}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
            &format!("{{{many}\"m7\":1}}"),
            "[]",
            "\"text\"",
            "",
            "{}x",
            "{\"a\":\u{0}}",
            "{\"a\":01}",
            "{\"a\":1e999}",
            "{'a':1}",
            "{1:1}",
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(format!("{{{many}\"m70\":1}}").as_bytes()).is_ok());
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}
