//! What the client sends: secrets that wipe themselves when they are dropped
//! and do not show themselves when they are printed.

#![forbid(unsafe_code)]

mod recognition;

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Failure, Reason};

/// A CAS proxy ticket or service ticket (CAS protocol 3.0, section 3).
#[derive(Clone)]
pub struct Ticket(Zeroizing<String>);

impl Ticket {
    /// The lengths that a ticket may have, in bytes. CAS asks its clients to
    /// take at least 256 (CAS protocol 3.0, section 3.2.1).
    pub const LENGTHS: std::ops::RangeInclusive<usize> = 5..=256;

    /// Takes a ticket by its form alone.
    ///
    /// `ST-` is taken because older servers issue proxy tickets by that name.
    ///
    /// # Errors
    /// [`Reason::TicketMalformed`] unless it begins with `PT-` or `ST-`, is of
    /// one of [`Ticket::LENGTHS`] and consists of visible ASCII characters.
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

    /// The ticket itself, for the SSO server and the session's key alone.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What may be shown of it: of which kind it is.
    pub fn shown(&self) -> &str {
        self.0.get(.."PT-".len()).unwrap_or_default()
    }

    /// `text` with every occurrence of the ticket masked: CAS servers quote the
    /// ticket in their error messages.
    pub fn masked_in(&self, text: &str) -> String {
        text.replace(self.expose(), "[ticket]")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket([{} characters])", self.0.len())
    }
}

/// A JWT as it travels: a JWS in compact serialization (RFC 7515, section 7.1).
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The longest token taken, in bytes: that of the longest message that Cyrus
    /// imapd takes from a client.
    pub const LONGEST: usize = 21_847;

    /// Takes a token by its form alone: header, payload and signature in
    /// base64url (RFC 7515, section 2), the signature perhaps empty.
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`].
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let complain = |what| Err(Failure::new(Reason::TokenMalformed, what));
        if text.len() > Self::LONGEST {
            return complain("is longer than 21847 bytes");
        }
        // Without a branch for each byte, so that many are looked at in one go: this is what a
        // known token costs.
        if !text.bytes().fold(true, |all, byte| all & is_known(byte)) {
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

    /// The token itself, for its validation and the session's key alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Whether a byte is of base64url (RFC 4648, section 5), or a dot.
fn is_known(byte: u8) -> bool {
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
    /// Of CAS.
    Ticket(Ticket),
    /// Of an issuer.
    Token(Token),
}

/// What kinds of credentials there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A CAS ticket.
    Ticket,
    /// A JWT.
    Token,
}

impl CredentialKind {
    /// What stands where a password would be is meant to be a credential of this
    /// kind, or `None` if it may be somebody's password. Whatever is said here to
    /// be a credential must never be tried as a password: that would be to send
    /// it to whoever checks those.
    pub fn of_password(password: &[u8]) -> Option<Self> {
        recognition::kind(password)
    }
}

impl Credential {
    /// Takes a credential of `kind` by its form.
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

    /// Its kind.
    pub fn kind(&self) -> CredentialKind {
        match self {
            Self::Ticket(_) => CredentialKind::Ticket,
            Self::Token(_) => CredentialKind::Token,
        }
    }

    /// The credential itself, for the session's key alone.
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
    fn a_password_is_a_credential_only_if_it_can_be_nothing_else() {
        let long = format!("PT-{}", "x".repeat(400));
        for text in ["PT-12345", "ST-12345", &long, " PT-12345\r\n", "PT-12345\0"] {
            let kind = CredentialKind::of_password(text.as_bytes());
            assert_eq!(kind, Some(CredentialKind::Ticket), "{text:?}");
        }
        // {"alg":"RS256"}, with whatever follows: a broken token is no password.
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
    fn proxy_and_service_tickets_are_taken() {
        for text in ["PT-12", "ST-12", &format!("PT-{}", "x".repeat(253))] {
            assert_eq!(Ticket::parse(text).unwrap().expose(), text);
        }
    }

    #[test]
    fn anything_else_never_becomes_a_ticket() {
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
        let longest = format!("e30.{}.c2ln", "A".repeat(Token::LONGEST - 9));
        assert!(Token::parse(&longest).is_ok());
    }

    #[test]
    fn anything_else_never_becomes_a_token() {
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
            &format!("e30.{}.c2ln", "A".repeat(Token::LONGEST - 8)),
        ] {
            let failure = Token::parse(text).unwrap_err();
            assert_eq!(failure.reason(), Reason::TokenMalformed, "{text:?}");
        }
    }

    #[test]
    fn a_credential_does_not_show_itself() {
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
