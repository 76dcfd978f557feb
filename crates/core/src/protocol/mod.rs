//! What clients send and are sent, as bytes. Pure: no I/O, no clock.

#![forbid(unsafe_code)]

pub mod caspt;
pub mod oauthbearer;
pub mod plain;
pub mod saslauthd;
pub mod xoauth2;

use crate::credential::Credential;
use crate::error::{Failure, FailureKind, Reason};
use crate::platform::log::is_hidden;

/// The longest authorization or authentication identity taken, in bytes; what
/// RFC 4616 asks servers to take at least.
const LONGEST_IDENTITY: usize = 255;

/// A client's first and only message.
#[derive(Debug)]
pub struct Message<Credential> {
    /// Whom the client wants to act as, if not as itself. Left to the host.
    pub authzid: Option<String>,
    /// Who the client says the credential's user is, if it says so.
    pub authcid: Option<String>,
    /// The credential.
    pub credential: Credential,
}

impl<Credential> Message<Credential> {
    /// The message without its credential, and the credential.
    pub fn without_credential(self) -> (Message<()>, Credential) {
        let message = Message {
            authzid: self.authzid,
            authcid: self.authcid,
            credential: (),
        };
        (message, self.credential)
    }
}

impl<Specific: Into<Credential>> Message<Specific> {
    /// The message with a credential of whatever kind.
    pub fn of_any_kind(self) -> Message<Credential> {
        let (
            Message {
                authzid, authcid, ..
            },
            credential,
        ) = self.without_credential();
        Message {
            authzid,
            authcid,
            credential: credential.into(),
        }
    }
}

/// An identity as a client writes it; an empty one is none.
fn identity(text: &str) -> Result<Option<String>, Failure> {
    if text.len() > LONGEST_IDENTITY {
        return Err(malformed("has an identity longer than 255 bytes"));
    }
    if text.chars().any(is_hidden) {
        return Err(malformed("has control characters in an identity"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A message, or a field of one, as text without NUL in it.
fn text(bytes: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("is not UTF-8"))?;
    if text.contains('\0') {
        return Err(malformed("has NUL in it"));
    }
    Ok(text)
}

fn malformed(what: &str) -> Failure {
    Failure::new(Reason::MessageMalformed, format!("the message {what}"))
}

/// The token of a value `Bearer TOKEN` (RFC 6750, section 2.1), the scheme's
/// name in any case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Result<&str, Failure> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(malformed("has an auth that is not \"Bearer\" and a token"));
    }
    Ok(token.trim_matches(' '))
}

/// The word by which a client is told of a failure of this kind, of those for a
/// malformed message, a refusal, and one by policy. `None` if the client is not to
/// blame and its credential may be good.
fn status(
    kind: FailureKind,
    [malformed, refused, not_allowed]: [&'static str; 3],
) -> Option<&'static str> {
    match kind {
        FailureKind::Malformed => Some(malformed),
        FailureKind::Refused => Some(refused),
        FailureKind::NotAllowed => Some(not_allowed),
        FailureKind::Unavailable | FailureKind::Internal => None,
    }
}

/// What a client that was refused is told about how to do better. It holds
/// nothing that depends on the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The scopes that a token needs here, separated by blanks.
    pub scope: Option<String>,
    /// Where the issuer describes itself (OpenID Connect Discovery 1.0).
    pub openid_configuration: Option<String>,
}
