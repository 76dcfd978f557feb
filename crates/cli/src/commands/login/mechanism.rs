//! The SASL messages of the client, for each mechanism.

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use zeroize::Zeroizing;

use super::credential_input::CredentialInput;
use super::server_addr::Protocol;
use sso_core::credential::CredentialKind;

/// How the credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mechanism {
    /// A ticket, in a message like that of PLAIN
    #[value(name = "CASPT")]
    Caspt,
    /// A token (RFC 7628)
    #[value(name = "OAUTHBEARER")]
    OauthBearer,
    /// A token, in Google's format
    #[value(name = "XOAUTH2")]
    Xoauth2,
    /// A password, a ticket or a token (RFC 4616)
    #[value(name = "PLAIN")]
    Plain,
    /// The same, by IMAP's LOGIN command or POP3's USER and PASS
    #[value(name = "LOGIN")]
    Login,
}

impl Mechanism {
    /// The default mechanism for a kind of credential.
    pub(crate) fn for_kind(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Ticket => Self::Caspt,
            CredentialKind::Token => Self::OauthBearer,
        }
    }

    /// The name as servers list it. [`Mechanism::Login`] is a command and is not listed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caspt => "CASPT",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// The names in the messages of a login.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The authentication identity; empty if the server takes it from the credential.
    pub(crate) user: String,
    /// The authorization identity; empty if it is the authentication identity.
    pub(crate) authzid: String,
    /// The host name of the server as the user entered it.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The parameters of a login.
pub(crate) struct Login<'s> {
    pub(crate) mechanism: Mechanism,
    pub(crate) names: Names,
    pub(crate) credential: &'s CredentialInput,
}

impl<'s> Login<'s> {
    /// # Errors
    /// A sentence that names what is missing, or what the mechanism does not support.
    pub(crate) fn new(
        protocol: Protocol,
        mechanism: Mechanism,
        names: Names,
        credential: &'s CredentialInput,
    ) -> Result<Self, String> {
        let login = Self {
            mechanism,
            names,
            credential,
        };
        match login.usage_error(protocol) {
            None => Ok(login),
            Some(usage_error) => Err(format!("{}: {usage_error}", mechanism.name())),
        }
    }

    fn usage_error(&self, protocol: Protocol) -> Option<&'static str> {
        let (user, authzid) = (&self.names.user, &self.names.authzid);
        let is_ascii = user.is_ascii() && self.credential.expose().is_ascii();
        match self.mechanism {
            Mechanism::Login if protocol == Protocol::Sieve => {
                Some("ManageSieve has no such command; say --mechanism PLAIN")
            }
            Mechanism::Login if user.is_empty() => Some("say who logs in by --user NAME"),
            Mechanism::Login if !authzid.is_empty() => {
                Some("cannot say whom to act as; leave --authzid out")
            }
            Mechanism::Login if !is_ascii => Some("takes ASCII alone; say --mechanism PLAIN"),
            Mechanism::Plain if user.is_empty() && self.credential.kind().is_none() => {
                Some("a password needs a user; say --user NAME")
            }
            Mechanism::Xoauth2 if !authzid.is_empty() => {
                Some("cannot say whom to act as; leave --authzid out")
            }
            Mechanism::OauthBearer if !authzid.is_empty() && !user.is_empty() => {
                Some("has a place for one name; say --user or --authzid")
            }
            _ => None,
        }
    }

    /// The client's first message, as it is sent.
    pub(crate) fn message(&self) -> Zeroizing<String> {
        self.message_with(self.credential.expose())
    }

    /// The client's first message, with the credential masked.
    pub(crate) fn display_message(&self) -> String {
        display_base64(&self.message_with(&self.credential.to_string()))
    }

    fn message_with(&self, credential: &str) -> Zeroizing<String> {
        let Names {
            user,
            authzid,
            host,
            port,
        } = &self.names;
        Zeroizing::new(match self.mechanism {
            Mechanism::Caspt | Mechanism::Plain | Mechanism::Login => {
                format!("{authzid}\0{user}\0{credential}")
            }
            Mechanism::OauthBearer => {
                let name = match (authzid.as_str(), user.as_str()) {
                    ("", "") => String::new(),
                    ("", name) | (name, _) => format!("a={}", escape_saslname(name)),
                };
                format!(
                    "n,{name},\x01host={host}\x01port={port}\x01auth=Bearer {credential}\x01\x01"
                )
            }
            Mechanism::Xoauth2 => format!("user={user}\x01auth=Bearer {credential}\x01\x01"),
        })
    }

    /// The response to a challenge after the first message. The server then reports the failure:
    /// RFC 7628, section 3.2.3; for XOAUTH2 the response is empty.
    pub(crate) fn answer(&self) -> &'static str {
        match self.mechanism {
            Mechanism::Xoauth2 => "",
            _ => "\x01",
        }
    }
}

/// Escapes a `saslname` (RFC 5801, section 4).
fn escape_saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// How the transcript shows a message that is sent in base64.
pub(crate) fn display_base64(message: &str) -> String {
    format!("base64({message})")
}

/// Decodes base64 from the server; `None` if it is invalid.
pub(crate) fn decode_base64(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Encodes a message in base64 with padding: imapd 3.6.1 drops the connection without it.
pub(crate) fn encode_base64(message: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sso_core::protocol::{caspt, oauthbearer, plain, xoauth2};

    fn credential(text: &str) -> CredentialInput {
        let (mut console, _, _) = crate::term::console::Console::for_test(text);
        CredentialInput::read(None, &mut console).unwrap()
    }

    fn names(authzid: &str, user: &str) -> Names {
        Names {
            user: user.to_owned(),
            authzid: authzid.to_owned(),
            host: "mail.univ.fr".to_owned(),
            port: 143,
        }
    }

    #[test]
    fn plugin_parses_the_messages_of_every_mechanism() {
        let (ticket, token) = (credential("PT-12345"), credential("e30.e30.c2ln"));
        let made = |mechanism, authzid, user, credential| {
            let names = names(authzid, user);
            let login = Login::new(Protocol::Imap, mechanism, names, credential).unwrap();
            login.message()
        };
        let message = made(Mechanism::Caspt, "bob", "alice", &ticket);
        let message = caspt::parse(message.as_bytes()).unwrap();
        assert_eq!(message.authzid.as_deref(), Some("bob"));
        assert_eq!(message.authcid.as_deref(), Some("alice"));
        assert_eq!(message.credential.expose(), "PT-12345");

        for (authzid, user) in [("", "a=b,c"), ("a=b,c", "")] {
            let message = made(Mechanism::OauthBearer, authzid, user, &token);
            let message = oauthbearer::parse(message.as_bytes()).unwrap();
            assert_eq!(message.authzid.as_deref(), Some("a=b,c"));
            assert_eq!(message.credential.expose(), "e30.e30.c2ln");
        }
        let message = made(Mechanism::OauthBearer, "", "", &token);
        assert_eq!(
            oauthbearer::parse(message.as_bytes()).unwrap().authzid,
            None
        );

        let message = made(Mechanism::Xoauth2, "", "alice", &token);
        let message = xoauth2::parse(message.as_bytes()).unwrap();
        assert_eq!(message.authcid.as_deref(), Some("alice"));

        let message = made(Mechanism::Plain, "", "alice", &ticket);
        let message = plain::Plain::parse(message.as_bytes()).unwrap();
        assert_eq!(
            (message.authcid, message.password),
            (&b"alice"[..], &b"PT-12345"[..])
        );
    }

    #[test]
    fn displayed_message_does_not_contain_the_credential() {
        let token = credential("e30.e30.c2ln");
        for mechanism in Mechanism::value_variants() {
            let names = names("", "alice");
            let login = Login::new(Protocol::Imap, *mechanism, names, &token).unwrap();
            let shown = login.display_message();
            assert!(shown.contains("‹token, 12 bytes, sha256 "), "{shown}");
            assert!(!shown.contains("e30.e30"), "{shown}");
        }
    }

    #[test]
    fn unsupported_names_are_rejected_before_connecting() {
        let (ticket, password) = (credential("PT-12345"), credential("secrèt"));
        let error_of = |protocol, mechanism, names, credential| {
            Login::new(protocol, mechanism, names, credential).err()
        };
        use Mechanism as M;
        use Protocol::{Imap, Sieve};
        for (protocol, mechanism, authzid, user, credential) in [
            (Imap, M::Login, "", "", &ticket),
            (Imap, M::Login, "bob", "alice", &ticket),
            (Imap, M::Login, "", "alice", &password),
            (Sieve, M::Login, "", "alice", &ticket),
            (Imap, M::Plain, "", "", &password),
            (Imap, M::Xoauth2, "bob", "alice", &ticket),
            (Imap, M::OauthBearer, "bob", "alice", &ticket),
        ] {
            let names = names(authzid, user);
            let error = error_of(protocol, mechanism, names, credential).unwrap();
            assert!(error.starts_with(mechanism.name()), "{error}");
        }
        // A ticket or token identifies its user.
        assert_eq!(error_of(Imap, M::Plain, names("", ""), &ticket), None);
    }
}
