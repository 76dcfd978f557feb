//! PLAIN: `[authzid] NUL authcid NUL passwd` (RFC 4616, section 2). A credential may be in the
//! place of the password.

#![forbid(unsafe_code)]

use super::{Message, identity, malformed, text};
use crate::credential::{Credential, CredentialKind};
use crate::error::Failure;

/// A client's message, as bytes: an ordinary password is passed on unchanged.
pub struct Plain<'m> {
    /// The user that the client wants to act as; empty if none.
    pub authzid: &'m [u8],
    /// The user name that the client has sent.
    pub authcid: &'m [u8],
    /// The password, or a credential in its place.
    pub password: &'m [u8],
}

impl<'m> Plain<'m> {
    /// Parses a client's message.
    ///
    /// # Errors
    /// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed).
    pub fn parse(bytes: &'m [u8]) -> Result<Self, Failure> {
        let mut parts = bytes.split(|byte| *byte == 0);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(authzid), Some(authcid), Some(password), None) => Ok(Self {
                authzid,
                authcid,
                password,
            }),
            _ => Err(malformed("has not exactly two NUL in it")),
        }
    }

    /// The message with the credential of `kind` in the place of the password. The user name may be
    /// missing, as with CASPT, because the credential contains it.
    ///
    /// # Errors
    /// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed), or as
    /// [`Credential::parse`].
    pub fn message(&self, kind: CredentialKind) -> Result<Message<Credential>, Failure> {
        Ok(Message {
            authzid: identity(text(self.authzid)?)?,
            authcid: identity(text(self.authcid)?)?,
            credential: Credential::parse(kind, self.password)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn ordinary_password_is_not_changed() {
        let plain = Plain::parse(b"\0al\xefce\0p\xe4ss word\r\n").unwrap();
        assert_eq!(plain.authzid, b"");
        assert_eq!(plain.authcid, b"al\xefce");
        assert_eq!(plain.password, b"p\xe4ss word\r\n");
    }

    #[test]
    fn credential_is_parsed_with_both_identities() {
        let plain = Plain::parse(b"bob\0alice\0PT-12345").unwrap();
        let message = plain.message(CredentialKind::Ticket).unwrap();
        assert_eq!(message.authzid.as_deref(), Some("bob"));
        assert_eq!(message.authcid.as_deref(), Some("alice"));
        assert_eq!(message.credential.expose(), "PT-12345");
        let plain = Plain::parse(b"\0\0eyJ9.e30.c2ln").unwrap();
        assert_eq!(plain.message(CredentialKind::Token).unwrap().authcid, None);
    }

    #[test]
    fn other_messages_are_malformed() {
        for bytes in [&b""[..], b"PT-12345", b"\0PT-12345", b"\0a\0PT-12345\0"] {
            let failure = Plain::parse(bytes).err().unwrap();
            assert_eq!(failure.reason(), Reason::MessageMalformed, "{bytes:?}");
        }
        let plain = Plain::parse(b"\0al\xefce\0PT-12345").unwrap();
        let failure = plain.message(CredentialKind::Ticket).unwrap_err();
        assert_eq!(failure.reason(), Reason::MessageMalformed);
    }
}
