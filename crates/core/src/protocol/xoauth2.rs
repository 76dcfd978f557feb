//! XOAUTH2, Google's forerunner of OAUTHBEARER, which most clients still speak:
//! `user=USER^Aauth=Bearer TOKEN^A^A`.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::oauthbearer::SEPARATOR;
use super::{Hint, Message, bearer, identity, malformed, status, text};
use crate::credential::Token;
use crate::error::{Failure, FailureKind};

/// Parses a client's message. The user that it names must be the token's.
///
/// # Errors
/// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) or
/// [`Reason::TokenMalformed`](crate::error::Reason::TokenMalformed).
pub fn parse(bytes: &[u8]) -> Result<Message<Token>, Failure> {
    let mut parts = text(bytes)?.split(SEPARATOR);
    let (Some(user), Some(auth), Some(""), Some(""), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return Err(malformed("is not user=, ^A, auth=, ^A and ^A"));
    };
    let user = user
        .strip_prefix("user=")
        .ok_or_else(|| malformed("does not begin with user="))?;
    let auth = auth
        .strip_prefix("auth=")
        .ok_or_else(|| malformed("has no auth= behind the user"))?;
    Ok(Message {
        authzid: None,
        authcid: identity(user)?,
        credential: Token::parse(bearer(auth)?)?,
    })
}

/// The challenge that tells a client of a failure of this kind. `None` if the
/// client is not to blame and its token may be good.
pub fn challenge(kind: FailureKind, hint: &Hint) -> Option<String> {
    let status = status(kind, ["400", "401", "403"])?;
    let mut members = Map::new();
    members.insert("status".to_owned(), Value::from(status));
    members.insert("schemes".to_owned(), Value::from("bearer"));
    if let Some(scope) = &hint.scope {
        members.insert("scope".to_owned(), Value::from(scope.as_str()));
    }
    Some(Value::Object(members).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn parsed(message: &str) -> Result<Message<Token>, Failure> {
        let message = message.replace("^A", "\x01").replace("JWT", "e30.e30.c2ln");
        parse(message.as_bytes())
    }

    #[test]
    fn googles_form_is_taken() {
        let message = parsed("user=alice^Aauth=Bearer JWT^A^A").unwrap();
        assert_eq!(message.authcid.as_deref(), Some("alice"));
        assert_eq!(message.authzid, None);
        assert_eq!(message.credential.expose(), "e30.e30.c2ln");
    }

    #[test]
    fn roundcube_escapes_nothing_and_names_an_address() {
        let message = parsed("user=a=b,c@univ.fr^Aauth=Bearer JWT^A^A").unwrap();
        assert_eq!(message.authcid.as_deref(), Some("a=b,c@univ.fr"));
    }

    #[test]
    fn who_names_nobody_is_the_tokens_user() {
        assert_eq!(parsed("user=^Aauth=bearer JWT^A^A").unwrap().authcid, None);
    }

    #[test]
    fn any_other_form_is_malformed() {
        for message in [
            "",
            "^A",
            "user=alice",
            "alice^Aauth=Bearer JWT^A^A",
            "user=alice^Aauth=Bearer JWT^A",
            "user=alice^Aauth=Bearer JWT^A^A^A",
            "user=alice^AauthBearer JWT^A^A",
            "user=alice^Aauth=Basic JWT^A^A",
            "user=a\0b^Aauth=Bearer JWT^A^A",
            "user=a\nb^Aauth=Bearer JWT^A^A",
            "n,a=alice,^Aauth=Bearer JWT^A^A",
        ] {
            let reason = parsed(message).unwrap_err().reason();
            assert_eq!(reason, Reason::MessageMalformed, "{message:?}");
        }
        let reason = parsed("user=alice^Aauth=Bearer password^A^A")
            .unwrap_err()
            .reason();
        assert_eq!(reason, Reason::TokenMalformed);
    }

    #[test]
    fn a_refusal_is_a_status_of_http() {
        let hint = Hint {
            scope: Some("imap".to_owned()),
            ..Hint::default()
        };
        assert_eq!(
            challenge(FailureKind::Refused, &hint).unwrap(),
            "{\"schemes\":\"bearer\",\"scope\":\"imap\",\"status\":\"401\"}"
        );
        assert!(
            challenge(FailureKind::NotAllowed, &hint)
                .unwrap()
                .contains("403")
        );
        assert!(
            challenge(FailureKind::Malformed, &hint)
                .unwrap()
                .contains("400")
        );
        assert_eq!(challenge(FailureKind::Unavailable, &hint), None);
    }
}
