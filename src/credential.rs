//! What the client sends: secrets that wipe themselves when they are dropped
//! and do not show themselves when they are printed.

#![forbid(unsafe_code)]

use std::fmt;

use zeroize::Zeroizing;

use crate::outcome::{Failure, Reason};

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
        // Without a branch for each byte: this is what a known token costs.
        let strangers = text
            .bytes()
            .map(|byte| usize::from(IS_STRANGE[usize::from(byte)]));
        if strangers.sum::<usize>() > 0 {
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

/// The bytes that are neither of base64url (RFC 4648, section 5) nor a dot.
const IS_STRANGE: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < table.len() {
        let is_base64url = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'-';
        table[byte] = !is_base64url && byte as u8 != b'_' && byte as u8 != b'.';
        byte += 1;
    }
    table
};

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token([{} characters])", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
