//! A login by a bearer token, and what came of it.

use super::base64;
use super::cyrus_conf::Service;

/// The mechanism of a login by a bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 7628
    OAuthBearer,
    /// Google's
    XOAuth2,
}

impl Mechanism {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }
}

/// Who logs in, and where.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// What listens on the port.
    pub service: Service,
    /// The port on localhost.
    pub port: u16,
    /// curl and imapflow go by what the server offers instead.
    pub mechanism: Mechanism,
    /// The user.
    pub user: &'a str,
    /// The token, without spaces or quotes.
    pub token: &'a str,
}

/// What became of a login.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the client logged in, and could use its mailbox or scripts.
    pub logged_in: bool,
    /// Everything that the client printed or logged.
    pub transcript: String,
}

impl Outcome {
    /// The challenge in JSON that the client got, which it repeats in its log as often as it likes.
    pub fn challenge(&self) -> Option<String> {
        let in_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
        self.transcript
            .split(|letter| !in_base64(letter))
            .filter_map(|word| String::from_utf8(base64::decode(word)?).ok())
            // A token has JSON in base64 as well.
            .find(|text| text.starts_with('{') && text.contains("\"status\""))
    }
}
