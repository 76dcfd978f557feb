//! The messages of the SASL mechanisms and of saslauthd, as bytes. This module performs no I/O.

#![forbid(unsafe_code)]

pub mod caspt;
pub mod oauthbearer;
pub mod plain;
pub mod saslauthd;
pub mod xoauth2;

use crate::credential::Credential;
use crate::error::{Failure, FailureKind, Reason};
use crate::platform::log::is_hidden;

/// The maximum length of an authorization or authentication identity, in bytes: the minimum that
/// RFC 4616 requires servers to accept.
const MAX_IDENTITY_BYTES: usize = 255;

/// The first and only message of a client.
#[derive(Debug)]
pub struct Message<Credential> {
    /// The user that the client wants to act as, if it is another one. The host decides about it.
    pub authzid: Option<String>,
    /// The name of the credential's user that the client has sent, if any.
    pub authcid: Option<String>,
    /// The credential.
    pub credential: Credential,
}

impl<Credential> Message<Credential> {
    /// Splits the message and its credential.
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
    /// Converts the type of the credential.
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

/// Parses an identity; an empty one means none.
fn identity(text: &str) -> Result<Option<String>, Failure> {
    if text.len() > MAX_IDENTITY_BYTES {
        return Err(malformed("has an identity longer than 255 bytes"));
    }
    if text.chars().any(is_hidden) {
        return Err(malformed("has control characters in an identity"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Requires UTF-8 without NUL.
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

/// The token of a value `Bearer TOKEN` (RFC 6750, section 2.1). The name of the scheme is
/// case-insensitive (RFC 9110, section 11.1).
fn bearer(value: &str) -> Result<&str, Failure> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(malformed("has an auth that is not \"Bearer\" and a token"));
    }
    Ok(token.trim_matches(' '))
}

/// The status for a client, of three for a malformed message, a refusal, and a refusal by policy.
/// `None` if the failure is not the client's fault: its credential may be valid.
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

/// What a refused client may learn about the token that it needs. It contains nothing that depends
/// on the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The required scopes, separated by blanks.
    pub scope: Option<String>,
    /// The address of the issuer's metadata (OpenID Connect Discovery 1.0).
    pub openid_configuration: Option<String>,
}
