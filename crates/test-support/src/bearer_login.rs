//! The parameters and the outcome of a login with a bearer token.

use super::base64;
use super::cyrus_conf::Service;

/// A SASL mechanism for bearer tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// OAUTHBEARER (RFC 7628)
    OAuthBearer,
    /// XOAUTH2 of Google
    XOAuth2,
}

impl Mechanism {
    /// Returns the name of the mechanism.
    pub fn name(self) -> &'static str {
        match self {
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }
}

/// The parameters of a login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The service that listens on the port.
    pub service: Service,
    /// The port on localhost.
    pub port: u16,
    /// The mechanism. curl and imapflow ignore it and choose from what the server offers.
    pub mechanism: Mechanism,
    /// The user name.
    pub user: &'a str,
    /// The token. It must not contain spaces or quotes.
    pub token: &'a str,
}

/// The outcome of a login.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the client logged in and could use its mailbox or scripts.
    pub logged_in: bool,
    /// Everything that the client printed or logged.
    pub transcript: String,
}

impl Outcome {
    /// Returns the JSON challenge that the client received. The transcript may contain it
    /// repeatedly.
    pub fn challenge(&self) -> Option<String> {
        let in_base64 = |letter: char| letter.is_ascii_alphanumeric() || "+/=".contains(letter);
        self.transcript
            .split(|letter| !in_base64(letter))
            .filter_map(|word| String::from_utf8(base64::decode(word)?).ok())
            // A token contains JSON in base64, too.
            .find(|text| text.starts_with('{') && text.contains("\"status\""))
    }
}
