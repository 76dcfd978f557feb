//! OAUTHBEARER (RFC 7628): `n,a=USER,^Ahost=…^Aport=…^Aauth=Bearer TOKEN^A^A`.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::{Hint, Message, bearer, identity, malformed, status, text};
use crate::credential::Token;
use crate::error::{Failure, FailureKind};

/// Separates key/value pairs: `kvsep` of RFC 7628, section 3.1.
pub(crate) const SEPARATOR: char = '\x01';

/// Parses a client's message: `client-resp` of RFC 7628, section 3.1.
///
/// # Errors
/// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) or
/// [`Reason::TokenMalformed`](crate::error::Reason::TokenMalformed).
pub fn parse(bytes: &[u8]) -> Result<Message<Token>, Failure> {
    let (header, pairs) = text(bytes)?
        .split_once(SEPARATOR)
        .ok_or_else(|| malformed("has no ^A in it"))?;
    let authzid = authzid(header)?;
    let token = Token::parse(bearer(auth(pairs)?)?)?;
    Ok(Message {
        authzid,
        authcid: None,
        credential: token,
    })
}

/// The authorization identity of a `gs2-header` (RFC 5801, section 4).
///
/// `user=` is accepted for `a=`, because an example of RFC 7628 has it (section 4.4).
fn authzid(header: &str) -> Result<Option<String>, Failure> {
    let (flag, rest) = header
        .split_once(',')
        .ok_or_else(|| malformed("does not begin with a GS2 header"))?;
    match flag {
        "n" | "y" => {}
        flag if flag.starts_with("p=") => {
            return Err(malformed("asks for channel binding, which is not offered"));
        }
        _ => return Err(malformed("does not begin with n, or y,")),
    }
    let name = rest
        .strip_suffix(',')
        .ok_or_else(|| malformed("has a GS2 header that does not end with a comma"))?;
    if name.is_empty() {
        return Ok(None);
    }
    let name = name
        .strip_prefix("a=")
        .or_else(|| name.strip_prefix("user="))
        .ok_or_else(|| malformed("has neither a= nor nothing in its GS2 header"))?;
    identity(&unescaped(name)?)
}

/// Decodes a `saslname` (RFC 5801, section 4): a comma is `=2C`, an equals sign `=3D`.
///
/// Some clients escape nothing. If the name contains no valid escape, it is taken literally.
fn unescaped(name: &str) -> Result<String, Failure> {
    let name = name.replace("=2c", "=2C").replace("=3d", "=3D");
    let plain = name.replace("=2C", "").replace("=3D", "");
    let has_escapes = plain.len() != name.len();
    if has_escapes && plain.contains(['=', ',']) {
        return Err(malformed("has a name that is escaped in parts only"));
    }
    Ok(name.replace("=2C", ",").replace("=3D", "="))
}

/// The value of `auth` among `*kvpair kvsep`. Other keys are ignored.
fn auth(pairs: &str) -> Result<&str, Failure> {
    let pairs = pairs
        .strip_suffix(SEPARATOR)
        .ok_or_else(|| malformed("does not end with ^A"))?;
    let pairs = pairs
        .strip_suffix(SEPARATOR)
        .ok_or_else(|| malformed("does not end with two ^A"))?;
    let mut auth = None;
    for pair in pairs.split(SEPARATOR) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| malformed("has a pair without ="))?;
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(malformed("has a key that is not of letters"));
        }
        if key == "auth" {
            // The value is validated as a token later.
            if auth.replace(value).is_some() {
                return Err(malformed("has two auth"));
            }
        } else if !value.bytes().all(is_value) {
            return Err(malformed("has control characters in a value"));
        }
    }
    auth.ok_or_else(|| malformed("has no auth"))
}

/// Whether a byte may be in a `value`: VCHAR, SP, HTAB, CR or LF.
fn is_value(byte: u8) -> bool {
    byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The challenge after a failure of this kind (RFC 7628, section 3.2.2). `None` if the failure is
/// not the client's fault: its token may be valid.
pub fn challenge(kind: FailureKind, hint: &Hint) -> Option<String> {
    let status = status(
        kind,
        ["invalid_request", "invalid_token", "insufficient_scope"],
    )?;
    let mut members = Map::new();
    let mut say = |name: &str, value: &str| members.insert(name.to_owned(), Value::from(value));
    say("status", status);
    if let Some(scope) = &hint.scope {
        say("scope", scope);
    }
    if let Some(url) = &hint.openid_configuration {
        say("openid-configuration", url);
    }
    Some(Value::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    const JWT: &str = "e30.e30.c2ln";

    /// Returns the authorization identity of a message whose token is the test's.
    fn authzid_of(message: &str) -> Option<String> {
        let message = message.replace("^A", "\x01").replace("JWT", JWT);
        let parsed = parse(message.as_bytes()).unwrap_or_else(|f| panic!("{message:?}: {f}"));
        assert_eq!(parsed.authcid, None);
        assert_eq!(parsed.credential.expose(), JWT);
        parsed.authzid
    }

    fn reason(message: &str) -> Reason {
        let message = message.replace("^A", "\x01").replace("JWT", JWT);
        parse(message.as_bytes()).unwrap_err().reason()
    }

    #[test]
    fn examples_of_rfc_7628_are_parsed() {
        // The examples of sections 4.1, 4.3 and 4.4: their tokens are no JWTs.
        for message in [
            "n,a=user@example.com,^Ahost=server.example.com^Aport=143^A\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==^A^A",
            "n,a=user@example.com,^Ahost=server.example.com^Aport=587^A\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==^A^A",
            "n,user=someuser@example.com,^Ahost=server.example.com^Aport=587^A\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==^A^A",
        ] {
            assert_eq!(reason(message), Reason::TokenMalformed, "{message}");
            let start = message.find("vF9").unwrap();
            let end = message.find("==").unwrap() + 2;
            let message = message.replace(&message[start..end], "JWT");
            assert!(authzid_of(&message).unwrap().ends_with("user@example.com"));
        }
        // The kind of failure of section 4.2: a message without a token.
        let empty = "n,a=user@example.com,^Ahost=server.example.com^Aport=143^Aauth=Bearer ^A^A";
        assert_eq!(reason(empty), Reason::TokenMalformed);
    }

    #[test]
    fn message_of_curl_with_host_and_port_is_parsed() {
        assert_eq!(
            authzid_of("n,a=alice,^Ahost=localhost^Aport=1143^Aauth=Bearer JWT^A^A").as_deref(),
            Some("alice")
        );
    }

    #[test]
    fn message_of_imapclient_without_host_and_port_is_parsed() {
        assert_eq!(
            authzid_of("n,a=alice,^Aauth=Bearer JWT^A^A").as_deref(),
            Some("alice")
        );
    }

    #[test]
    fn empty_name_means_no_identity() {
        assert_eq!(authzid_of("n,,^Aauth=Bearer JWT^A^A"), None);
        assert_eq!(authzid_of("n,a=,^Aauth=Bearer JWT^A^A"), None);
        assert_eq!(authzid_of("y,,^Aauth=Bearer JWT^A^A"), None);
    }

    #[test]
    fn scheme_is_case_insensitive_and_other_keys_are_ignored() {
        assert_eq!(
            authzid_of("n,,^Ahost=h^Amthd=POST^Aauth=bEARER  JWT^Aqs=a=b&c^A^A"),
            None
        );
    }

    #[test]
    fn escaped_and_unescaped_names_are_decoded() {
        let name = |name: &str| authzid_of(&format!("n,a={name},^Aauth=Bearer JWT^A^A")).unwrap();
        assert_eq!(name("a=2Cb=3Dc"), "a,b=c");
        assert_eq!(name("a=2cb=3dc"), "a,b=c");
        assert_eq!(name("a=3D2Cb"), "a=2Cb");
        assert_eq!(name("a,b"), "a,b");
        assert_eq!(name("a=b@univ.fr"), "a=b@univ.fr");
        assert_eq!(name("älice"), "älice");
        for ambiguous in ["a=2Cb,c", "a=3Db=c"] {
            let message = format!("n,a={ambiguous},^Aauth=Bearer JWT^A^A");
            assert_eq!(reason(&message), Reason::MessageMalformed, "{ambiguous}");
        }
    }

    #[test]
    fn other_messages_are_malformed() {
        let long = format!("n,a={},^Aauth=Bearer JWT^A^A", "a".repeat(256));
        for message in [
            "",
            "^A",
            "n,,",
            "p=tls-unique,,^Aauth=Bearer JWT^A^A",
            "x,,^Aauth=Bearer JWT^A^A",
            "n^Aauth=Bearer JWT^A^A",
            "n,^Aauth=Bearer JWT^A^A",
            "n,b=alice,^Aauth=Bearer JWT^A^A",
            "n,,^Aauth=Bearer JWT^A",
            "n,,^Aauth=Bearer JWT",
            "n,,^A^A",
            "n,,^Ahost=h^A^A",
            "n,,^Aauth=Basic JWT^A^A",
            "n,,^Aauth=BearerJWT^A^A",
            "n,,^Aauth=^A^A",
            "n,,^Aauth=Bearer JWT^Aauth=Bearer JWT^A^A",
            "n,,^Aauth^A^A",
            "n,,^A=Bearer JWT^A^A",
            "n,,^Aa_b=c^Aauth=Bearer JWT^A^A",
            "n,,^Aauth=Bearer JWT^A^A^A",
            "n,,^Ahost=\0^Aauth=Bearer JWT^A^A",
            "n,,^Ahost=\x02^Aauth=Bearer JWT^A^A",
            "n,a=a\x7fb,^Aauth=Bearer JWT^A^A",
            &long,
        ] {
            assert_eq!(reason(message), Reason::MessageMalformed, "{message:?}");
        }
        assert_eq!(
            parse(b"n,,\x01auth=Bearer \xff\x01\x01")
                .unwrap_err()
                .reason(),
            Reason::MessageMalformed
        );
    }

    #[test]
    fn challenge_names_the_scope_and_the_issuer() {
        let hint = Hint {
            scope: Some("imap".to_owned()),
            openid_configuration: Some("https://sso/\"".to_owned()),
        };
        let told = |kind| -> Value { challenge(kind, &hint).unwrap().parse().unwrap() };
        assert_eq!(
            told(FailureKind::Refused),
            serde_json::json!({
                "status": "invalid_token", "scope": "imap", "openid-configuration": "https://sso/\""
            })
        );
        assert_eq!(
            told(FailureKind::NotAllowed)["status"],
            "insufficient_scope"
        );
        assert_eq!(told(FailureKind::Malformed)["status"], "invalid_request");
        assert_eq!(
            challenge(FailureKind::Refused, &Hint::default()).unwrap(),
            "{\"status\":\"invalid_token\"}"
        );
        assert_eq!(challenge(FailureKind::Unavailable, &hint), None);
        assert_eq!(challenge(FailureKind::Internal, &hint), None);
    }
}
