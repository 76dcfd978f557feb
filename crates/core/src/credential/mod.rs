//! The credentials that clients send. They are overwritten when they are dropped, and printing them
//! does not show them.

#![forbid(unsafe_code)]

mod recognition;

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Failure, Reason};

/// A CAS proxy ticket or service ticket (CAS protocol 3.0, section 3).
#[derive(Clone)]
pub struct Ticket(Zeroizing<String>);

impl Ticket {
    /// The lengths that a ticket may have, in bytes. CAS requires services to accept at least 256
    /// (CAS protocol 3.0, section 3.2.1).
    pub const LENGTHS: std::ops::RangeInclusive<usize> = 5..=256;

    /// Parses a ticket, by its form only.
    ///
    /// `ST-` is accepted because older servers issue proxy tickets with that prefix.
    ///
    /// # Errors
    /// [`Reason::TicketMalformed`] unless it begins with `PT-` or `ST-`, has one of
    /// [`Ticket::LENGTHS`] and consists of visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let complain = |what| Err(Failure::new(Reason::TicketMalformed, what));
        if text.trim() != text {
            return complain("has blanks around it");
        }
        if !text.starts_with("PT-") && !text.starts_with("ST-") {
            return complain("begins with neither PT- nor ST-");
        }
        if !Self::LENGTHS.contains(&text.len()) {
            return complain("is not of 5 to 256 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return complain("has characters other than visible ASCII");
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The ticket itself, for the SSO server and the cache key only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of the ticket: its prefix.
    pub fn shown(&self) -> &str {
        self.0.get(.."PT-".len()).unwrap_or_default()
    }

    /// Returns `text` with every occurrence of the ticket masked: CAS servers quote tickets in
    /// their error messages.
    pub fn masked_in(&self, text: &str) -> String {
        text.replace(self.expose(), "[ticket]")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket([{} characters])", self.0.len())
    }
}

/// A JWT: a JWS in compact serialization (RFC 7515, section 7.1).
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The maximum length of a token, in bytes: what fits into the longest message that Cyrus imapd
    /// accepts from a client.
    pub const MAX_BYTES: usize = 21_847;

    /// Parses a token, by its form only: header, payload and signature in base64url (RFC 7515,
    /// section 2). The signature may be empty.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let complain = |what| Err(Failure::new(Reason::TokenMalformed, what));
        if text.len() > Self::MAX_BYTES {
            return complain("is longer than 21847 bytes");
        }
        // There is no branch per byte, so that the compiler vectorizes the loop: most of the cost
        // of a cache hit is here.
        if !text
            .bytes()
            .fold(true, |all, byte| all & is_token_byte(byte))
        {
            return complain("has white space or other characters that are not of base64url");
        }
        let mut parts = text.split('.');
        let (header, payload) = (parts.next(), parts.next());
        if header.is_none_or(str::is_empty) || payload.is_none_or(str::is_empty) {
            return complain("has no header or no payload");
        }
        match parts.count() {
            1 => Ok(Self(Zeroizing::new(text.to_owned()))),
            3 => complain("is encrypted (JWE); only signed tokens are taken"),
            _ => complain("is not of three parts"),
        }
    }

    /// The token itself, for validation and the cache key only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether a byte belongs to base64url (RFC 4648, section 5) or is a dot.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_' | b'.')
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token([{} characters])", self.0.len())
    }
}

/// A ticket or a token.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A CAS ticket.
    Ticket(Ticket),
    /// An access token.
    Token(Token),
}

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A CAS ticket.
    Ticket,
    /// A JWT.
    Token,
}

impl CredentialKind {
    /// The kind of credential that a client has sent in the place of a password; `None` for an
    /// ordinary password. What this function calls a credential must never be tried as a password,
    /// because that would send it to whoever checks passwords.
    pub fn of_password(password: &[u8]) -> Option<Self> {
        recognition::kind(password)
    }
}

impl Credential {
    /// Parses a credential of `kind`.
    ///
    /// # Errors
    /// As [`Ticket::parse`] and [`Token::parse`].
    pub fn parse(kind: CredentialKind, bytes: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(bytes);
        match kind {
            CredentialKind::Ticket => Ticket::parse(text.unwrap_or_default()).map(Self::Ticket),
            CredentialKind::Token => Token::parse(text.unwrap_or_default()).map(Self::Token),
        }
    }

    /// The kind of the credential.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Ticket(_) => CredentialKind::Ticket,
            Self::Token(_) => CredentialKind::Token,
        }
    }

    /// The credential itself, for the cache key only.
    pub fn expose(&self) -> &str {
        match self {
            Self::Ticket(ticket) => ticket.expose(),
            Self::Token(token) => token.expose(),
        }
    }
}

impl From<Ticket> for Credential {
    fn from(ticket: Ticket) -> Self {
        Self::Ticket(ticket)
    }
}

impl From<Token> for Credential {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_a_credential_only_if_it_looks_like_one() {
        let long = format!("PT-{}", "x".repeat(400));
        for text in ["PT-12345", "ST-12345", &long, " PT-12345\r\n", "PT-12345\0"] {
            let kind = CredentialKind::of_password(text.as_bytes());
            assert_eq!(kind, Some(CredentialKind::Ticket), "{text:?}");
        }
        // {"alg":"RS256"} followed by anything: a broken token is no password.
        for rest in [
            &b".e30.c2ln"[..],
            b".e30.",
            b"..",
            b".e30.c2ln\n",
            b".a.b.c.d",
            b".\xe9. ",
            b"==.e30.c2ln",
        ] {
            let text = [b"eyJhbGciOiJSUzI1NiJ9", rest].concat();
            assert_eq!(
                CredentialKind::of_password(&text),
                Some(CredentialKind::Token),
                "{rest:?}"
            );
        }
        // The same with white space around the object, which JSON allows.
        for header in [
            "eyJhbGciOiJSUzI1NiJ9Cg",
            "IHsiYWxnIjoiUlMyNTYifQ",
            "bearer eyJ9",
            "Bearer   eyJ9",
            "Bearer\teyJ9",
            " eyJ9",
            "eyI+/z8ifQ==",
        ] {
            let text = format!("{header}.e30.c2ln");
            assert_eq!(
                CredentialKind::of_password(text.as_bytes()),
                Some(CredentialKind::Token)
            );
        }
        for password in [
            &b""[..],
            b" ",
            b"secret",
            b"ST-",
            b"ST-Pauli 1910",
            b"pt-12345",
            b"my.pass.word",
            b"eye.of.tiger",
            b"eyJhbGciOiJSUzI1NiJ9",
            b"eyJhbGciOiJSUzI1NiJ9.e30",
            b"PT-1234\xe9",
        ] {
            assert_eq!(CredentialKind::of_password(password), None, "{password:?}");
        }
    }

    #[test]
    fn proxy_and_service_tickets_are_parsed() {
        for text in ["PT-12", "ST-12", &format!("PT-{}", "x".repeat(253))] {
            assert_eq!(Ticket::parse(text).unwrap().expose(), text);
        }
    }

    #[test]
    fn other_text_is_no_ticket() {
        for text in [
            "",
            "PT-",
            "PT-1",
            "pt-12345",
            "TGT-12345",
            "PGT-12345",
            "xPT-12345",
            "PT-12 45",
            "PT-12\n45",
            "PT-12\u{e9}45",
            "PT-12\u{7f}45",
            &format!("PT-{}", "x".repeat(254)),
        ] {
            assert!(Ticket::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn three_parts_of_base64url_are_a_token() {
        for text in ["e30.e30.c2ln", "e30.e30.", "-_9.A.z"] {
            assert_eq!(Token::parse(text).unwrap().expose(), text);
        }
        let longest = format!("e30.{}.c2ln", "A".repeat(Token::MAX_BYTES - 9));
        assert!(Token::parse(&longest).is_ok());
    }

    #[test]
    fn other_text_is_no_token() {
        for text in [
            "",
            ".",
            "..",
            "e30",
            "e30.e30",
            ".e30.c2ln",
            "e30..c2ln",
            "e30.e30.c2ln.c2ln",
            "a.b.c.d.e",
            "e30=.e30.c2ln",
            "e30.e3+0.c2ln",
            "e30.e30.c2 ln",
            "e30.e30.c2ln\n",
            "e30.e30.c2l\u{e9}",
            "e30.e30.c2\0ln",
            &format!("e30.{}.c2ln", "A".repeat(Token::MAX_BYTES - 8)),
        ] {
            let failure = Token::parse(text).unwrap_err();
            assert_eq!(failure.reason(), Reason::TokenMalformed, "{text:?}");
        }
    }

    #[test]
    fn debug_output_does_not_show_a_credential() {
        let ticket = Ticket::parse("PT-1-secret").unwrap();
        assert!(!format!("{ticket:?}").contains("secret"));
        let token = Token::parse("secret.secret.secret").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        assert_eq!(
            ticket.masked_in("Ticket 'PT-1-secret' not recognized"),
            "Ticket '[ticket]' not recognized"
        );
    }
}
