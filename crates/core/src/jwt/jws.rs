//! Parsing of tokens: the JWS compact serialization (RFC 7515, section 7.1) and the header
//! (section 4).
//!
//! Nothing that is read here may be trusted before the signature is verified.

#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, Object};
use crate::credential::Token;
use crate::error::{Failure, Reason};
use crate::platform::log::quoted;
use crate::policy::jws_algorithm::Algorithm;
use crate::trace::{Check, Comparison, Describe, Step};

/// The decoded parts of a token.
pub(crate) struct Parts<'t> {
    header: Vec<u8>,
    payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// What the signature is computed over (RFC 7515, section 5.2).
    pub(crate) signing_input: &'t str,
}

/// The parameters of a header that matter here.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// The name of a parameter by which the token contains or points to a key. The value is never
    /// read.
    pub(crate) foreign_key: Option<&'static str>,
}

/// Parameters by which a token contains or points to its own key (RFC 7515, sections 4.1.2 to
/// 4.1.6).
const FOREIGN_KEYS: [&str; 4] = ["jku", "jwk", "x5u", "x5c"];

/// Requires three parts of base64url.
///
/// Fails with [`Reason::TokenMalformed`].
pub(crate) fn check_form(token: &Token) -> Check<Parts<'_>, impl Describe> {
    let (signing_input, signature) = token.expose().rsplit_once('.').unwrap_or_default();
    let (header, payload) = signing_input.split_once('.').unwrap_or_default();
    let parts = || {
        Ok(Parts {
            header: decode("header", header)?,
            payload: decode("payload", payload)?,
            signature: decode("signature", signature)?,
            signing_input,
        })
    };
    Check::new(Step::Form, parts(), move || {
        let [header, payload, signature] = [header, payload, signature].map(str::len);
        Comparison::actual(format!(
            "header of {header}, claims of {payload}, signature of {signature} characters"
        ))
        .expected("base64url without padding")
    })
}

/// Requires a header that is a JSON object, has a known `alg`, and demands nothing else.
///
/// Fails with [`Reason::TokenMalformed`], [`Reason::HeaderNotAllowed`] or
/// [`Reason::AlgorithmNotAllowed`].
pub(crate) fn check_header(parts: &Parts<'_>) -> Check<Header, impl Describe> {
    let object = json::object(&parts.header);
    let header = match &object {
        Ok(object) => Header::read(object),
        Err(what) => {
            let what = format!("its header {what}");
            Err(Failure::new(Reason::TokenMalformed, what))
        }
    };
    Check::new(Step::Header, header, || describe_members(&parts.header))
}

/// Requires a payload that is a JSON object.
///
/// Fails with [`Reason::ClaimsMalformed`].
pub(crate) fn check_payload<'p>(parts: &'p Parts<'_>) -> Check<Object<'p>, impl Describe> {
    let payload = json::object(&parts.payload).map_err(|what| {
        let what = format!("the token's payload {what}");
        Failure::new(Reason::ClaimsMalformed, what)
    });
    Check::new(Step::Claims, payload, || describe_members(&parts.payload))
}

/// Decodes base64url without padding in its only valid spelling: unused bits must be zero
/// (RFC 4648, section 3.5).
fn decode(part: &str, text: &str) -> Result<Vec<u8>, Failure> {
    // The library's error message would show characters of the token.
    URL_SAFE_NO_PAD.decode(text).map_err(|_| {
        let what = format!("its {part} is not base64url as it must be written");
        Failure::new(Reason::TokenMalformed, what)
    })
}

impl Header {
    fn read(header: &Object<'_>) -> Result<Self, Failure> {
        let refuse = |what: &str| Err(Failure::new(Reason::HeaderNotAllowed, what));
        let has = |name: &str| header.get(name).is_some();
        if has("crit") {
            return refuse("the header has crit: what it demands is not understood here");
        }
        if has("b64") || has("zip") {
            return refuse("the header asks for another encoding of the payload");
        }
        if has("cty") {
            return refuse("the header says that another token is in this one (cty)");
        }
        let algorithm = text(header, "alg")?
            .ok_or_else(|| Failure::new(Reason::TokenMalformed, "its header has no alg"))?;
        Ok(Self {
            algorithm: algorithm_of(&algorithm)?,
            kid: text(header, "kid")?,
            typ: text(header, "typ")?,
            foreign_key: FOREIGN_KEYS.into_iter().find(|name| has(name)),
        })
    }
}

fn algorithm_of(name: &str) -> Result<Algorithm, Failure> {
    Algorithm::from_name(name).ok_or_else(|| {
        let what = if name.trim().eq_ignore_ascii_case("none") {
            "the token is not signed: alg is none".to_owned()
        } else {
            format!("alg is {name}, which is no signature algorithm taken here")
        };
        Failure::new(Reason::AlgorithmNotAllowed, what)
    })
}

fn text(header: &Object<'_>, name: &str) -> Result<Option<String>, Failure> {
    match header.get(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(Failure::new(
            Reason::TokenMalformed,
            format!("{name} in its header is not a text"),
        )),
    }
}

/// Lists all members of a JSON object.
fn describe_members(text: &[u8]) -> Comparison {
    let object = json::object(text);
    let members = object.iter().flat_map(Object::members);
    let members = members.map(|(name, value)| {
        let value = value.to_string();
        format!("{}={}", quoted(name), quoted(&value))
    });
    Comparison::actual(members.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::CheckObserver;

    fn token(header: &str, claims: &str) -> Token {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        Token::parse(&format!("{header}.{claims}.c2ln")).unwrap()
    }

    fn parts(token: &Token) -> Result<Parts<'_>, Failure> {
        CheckObserver::NONE.observe(check_form(token))
    }

    fn header(parts: &Parts<'_>) -> Result<Header, Failure> {
        CheckObserver::NONE.observe(check_header(parts))
    }

    fn failure(token: &Token) -> Failure {
        let result = parts(token).and_then(|parts| header(&parts));
        result.map(drop).expect_err(token.expose())
    }

    fn reason(header: &str) -> Reason {
        let token = token(header, "{}");
        failure(&token).reason()
    }

    #[test]
    fn parts_of_a_token_are_parsed() {
        let token = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"a":1}"#);
        let parts = parts(&token).unwrap();
        let header = header(&parts).unwrap();
        assert_eq!(header.algorithm, Algorithm::Es256);
        assert_eq!(header.kid.as_deref(), Some("k"));
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let claims = CheckObserver::NONE.observe(check_payload(&parts)).unwrap();
        assert_eq!(claims.get("a"), Some(&Json::Number(1.into())));
        assert_eq!(parts.signature, b"sig");
        assert!(token.expose().starts_with(parts.signing_input));
    }

    #[test]
    fn unsigned_token_and_unknown_algorithm_have_different_messages() {
        for none in ["none", "None", "NONE", "nOnE", " none"] {
            let token = token(&format!(r#"{{"alg":"{none}"}}"#), "{}");
            let failure = failure(&token);
            assert_eq!(failure.reason(), Reason::AlgorithmNotAllowed);
            assert!(failure.detail().contains("not signed"), "{failure}");
        }
        assert_eq!(reason(r#"{"alg":"rs256"}"#), Reason::AlgorithmNotAllowed);
        assert_eq!(reason(r#"{"alg":"RSA-OAEP"}"#), Reason::AlgorithmNotAllowed);
    }

    #[test]
    fn header_with_an_unsupported_extension_is_rejected() {
        for header in [
            r#"{"alg":"RS256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RS256","cty":"JWT"}"#,
        ] {
            assert_eq!(reason(header), Reason::HeaderNotAllowed, "{header}");
        }
    }

    #[test]
    fn header_that_is_no_object_with_a_text_alg_is_malformed() {
        for header in [
            "{}",
            "[]",
            "RS256",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","typ":null}"#,
            r#"{"alg":"RS256","alg":"HS256"}"#,
        ] {
            assert_eq!(reason(header), Reason::TokenMalformed, "{header}");
        }
    }

    #[test]
    fn base64url_with_unused_bits_set_is_malformed() {
        // The last character of each text has bits set that encode no byte.
        for text in [
            "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbh",
            "eyJhbGciOiJSUzI1NiJ9.e31.c2ln",
        ] {
            let token = Token::parse(text).unwrap();
            assert_eq!(failure(&token).reason(), Reason::TokenMalformed, "{text}");
        }
    }

    #[test]
    fn key_in_the_header_is_recorded_and_never_used() {
        let token = token(r#"{"alg":"RS256","jku":"https://evil.example/"}"#, "{}");
        let parts = parts(&token).unwrap();
        assert_eq!(header(&parts).unwrap().foreign_key, Some("jku"));
    }
}
