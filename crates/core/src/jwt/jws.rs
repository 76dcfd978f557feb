//! A token taken apart: JWS compact serialization (RFC 7515, section 7.1), and
//! what its header says (section 4).

#![forbid(unsafe_code)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json;
use super::json::{Json, Object};
use crate::credential::Token;
use crate::error::{Failure, Reason};
use crate::platform::log::quoted;
use crate::policy::jws_algorithm::Algorithm;
use crate::trace::{Checks, Step, Told};

/// The three parts of a token, as bytes.
pub(crate) struct Parts<'t> {
    header: Vec<u8>,
    claims: Vec<u8>,
    signature: Vec<u8>,
    signed: &'t str,
}

/// What is in them. Nothing of it is to be believed before the signature is
/// verified.
pub(crate) struct Compact<'t> {
    pub(crate) header: Header,
    pub(crate) claims: Object<'t>,
    /// What the signature is over.
    pub(crate) signed: &'t str,
    pub(crate) signature: &'t [u8],
}

/// What a header says about how the token was signed.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) typ: Option<String>,
    /// The name of a parameter by which the token brings or points to a key.
    /// None of them is ever looked at.
    pub(crate) foreign_key: Option<&'static str>,
}

/// Parameters by which a token tells its own key (RFC 7515, sections 4.1.2 to
/// 4.1.6).
const FOREIGN_KEYS: [&str; 4] = ["jku", "jwk", "x5u", "x5c"];

impl<'t> Parts<'t> {
    /// # Errors
    /// [`Reason::TokenMalformed`].
    pub(crate) fn decode(token: &'t Token, checks: &mut Checks<'_>) -> Result<Self, Failure> {
        let (signed, signature) = token.expose().rsplit_once('.').unwrap_or_default();
        let (header, claims) = signed.split_once('.').unwrap_or_default();
        let decode = || {
            Ok(Self {
                header: decode("header", header)?,
                claims: decode("payload", claims)?,
                signature: decode("signature", signature)?,
                signed,
            })
        };
        let told = |_: Option<&Self>| form(&[header, claims, signature]);
        checks.must(Step::Form, told, decode())
    }
}

impl<'t> Compact<'t> {
    /// # Errors
    /// [`Reason::TokenMalformed`], [`Reason::HeaderNotAllowed`],
    /// [`Reason::AlgorithmNotAllowed`] or [`Reason::ClaimsMalformed`].
    pub(crate) fn parse(parts: &'t Parts<'_>, checks: &mut Checks<'_>) -> Result<Self, Failure> {
        let object = json::object(&parts.header);
        let read = match &object {
            Ok(object) => Header::read(object),
            Err(what) => Err(Failure::new(
                Reason::TokenMalformed,
                format!("its header {what}"),
            )),
        };
        let told = |_: Option<&Header>| members(object.as_ref().ok());
        let header = checks.must(Step::Header, told, read)?;
        let claims = json::object(&parts.claims).map_err(|what| {
            let what = format!("the token's payload {what}");
            Failure::new(Reason::ClaimsMalformed, what)
        });
        let claims = checks.must(Step::Claims, members, claims)?;
        Ok(Self {
            header,
            claims,
            signed: parts.signed,
            signature: &parts.signature,
        })
    }
}

/// Base64url without padding, and in the one way that it is written: no bits
/// are left over (RFC 4648, section 3.5).
fn decode(part: &str, text: &str) -> Result<Vec<u8>, Failure> {
    // The library's own words show characters of the token.
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

/// The lengths of a token's parts.
fn form(parts: &[&str; 3]) -> Told {
    let [header, claims, signature] = parts.map(str::len);
    Told::found(format!(
        "header of {header}, claims of {claims}, signature of {signature} characters"
    ))
    .wanted("base64url without padding")
}

/// All that an object says.
fn members(object: Option<&Object<'_>>) -> Told {
    let members = object.into_iter().flat_map(Object::members);
    let members = members.map(|(name, value)| {
        let value = value.to_string();
        format!("{}={}", quoted(name), quoted(&value))
    });
    Told::found(members.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Witness;

    fn token(header: &str, claims: &str) -> Token {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        Token::parse(&format!("{header}.{claims}.c2ln")).unwrap()
    }

    fn decoded(token: &Token) -> Result<Parts<'_>, Failure> {
        Parts::decode(token, &mut Checks::new(Witness::NOBODY))
    }

    fn parsed<'t>(parts: &'t Parts<'_>) -> Result<Compact<'t>, Failure> {
        Compact::parse(parts, &mut Checks::new(Witness::NOBODY))
    }

    fn failure(token: &Token) -> Failure {
        let parts = decoded(token);
        let result = parts.and_then(|parts| parsed(&parts).map(drop));
        result.expect_err(token.expose())
    }

    fn reason(header: &str) -> Reason {
        let token = token(header, "{}");
        failure(&token).reason()
    }

    #[test]
    fn a_token_comes_apart() {
        let token = token(r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, r#"{"a":1}"#);
        let parts = decoded(&token).unwrap();
        let compact = parsed(&parts).unwrap();
        assert_eq!(compact.header.algorithm, Algorithm::Es256);
        assert_eq!(compact.header.kid.as_deref(), Some("k"));
        assert_eq!(compact.header.typ.as_deref(), Some("at+jwt"));
        assert_eq!(compact.claims.get("a"), Some(&Json::Number(1.into())));
        assert_eq!(compact.signature, b"sig");
        assert!(token.expose().starts_with(compact.signed));
    }

    #[test]
    fn an_unsigned_token_is_told_from_one_that_is_signed_strangely() {
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
    fn a_header_that_asks_for_more_is_refused() {
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
    fn a_header_of_another_form_is_malformed() {
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
    fn base64_has_one_spelling() {
        // The last characters of both have bits that no byte is made of.
        for text in [
            "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbh",
            "eyJhbGciOiJSUzI1NiJ9.e31.c2ln",
        ] {
            let token = Token::parse(text).unwrap();
            assert_eq!(failure(&token).reason(), Reason::TokenMalformed, "{text}");
        }
    }

    #[test]
    fn a_key_that_the_token_brings_is_noted_and_nothing_else() {
        let token = token(r#"{"alg":"RS256","jku":"https://evil.example/"}"#, "{}");
        let parts = decoded(&token).unwrap();
        let compact = parsed(&parts).unwrap();
        assert_eq!(compact.header.foreign_key, Some("jku"));
    }
}
