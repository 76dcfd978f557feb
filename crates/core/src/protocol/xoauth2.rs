//! XOAUTH2, Google's predecessor of OAUTHBEARER, which most clients still use:
//! `user=USER^Aauth=Bearer TOKEN^A^A`.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::oauthbearer::SEPARATOR;
use super::{Hint, Message, bearer, identity, malformed, status, text};
use crate::credential::Token;
use crate::error::{Failure, FailureKind};

/// Parses a client's message. The user in it must be the token's user.
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

/// The challenge after a failure of this kind. `None` if the failure is not the client's fault: its
/// token may be valid.
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
    fn message_in_googles_form_is_parsed() {
        let message = parsed("user=alice^Aauth=Bearer JWT^A^A").unwrap();
        assert_eq!(message.authcid.as_deref(), Some("alice"));
        assert_eq!(message.authzid, None);
        assert_eq!(message.credential.expose(), "e30.e30.c2ln");
    }

    #[test]
    fn message_of_roundcube_is_parsed() {
        let message = parsed("user=a=b,c@univ.fr^Aauth=Bearer JWT^A^A").unwrap();
        assert_eq!(message.authcid.as_deref(), Some("a=b,c@univ.fr"));
    }

    #[test]
    fn missing_user_means_the_tokens_user() {
        assert_eq!(parsed("user=^Aauth=bearer JWT^A^A").unwrap().authcid, None);
    }

    #[test]
    fn other_messages_are_malformed() {
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
    fn challenge_is_an_http_status() {
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
