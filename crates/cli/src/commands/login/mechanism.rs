//! What a client says first, by mechanism, and what it answers to a challenge.

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use zeroize::Zeroizing;

use super::credential_input::Secret;
use super::server_addr::Protocol;
use sso_core::credential::CredentialKind;

/// How the credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mechanism {
    /// A ticket: the form of PLAIN
    #[value(name = "CASPT")]
    Caspt,
    /// A token (RFC 7628)
    #[value(name = "OAUTHBEARER")]
    OauthBearer,
    /// A token, as Google has it
    #[value(name = "XOAUTH2")]
    Xoauth2,
    /// A password, or either in its place (RFC 4616)
    #[value(name = "PLAIN")]
    Plain,
    /// The same by IMAP's command LOGIN or by POP3's USER and PASS
    #[value(name = "LOGIN")]
    Login,
}

impl Mechanism {
    /// The one that the credential is for.
    pub(crate) fn of_kind(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Ticket => Self::Caspt,
            CredentialKind::Token => Self::OauthBearer,
        }
    }

    /// As servers list it. [`Mechanism::Login`] is a command, and none of these.
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

/// Who logs in.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Whose credential the client says it is; empty if it leaves that to the credential.
    pub(crate) user: String,
    /// Whom it wants to act as; empty if as itself.
    pub(crate) authzid: String,
    /// The server, as the user calls it.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A login to be made.
pub(crate) struct Login<'s> {
    pub(crate) mechanism: Mechanism,
    pub(crate) names: Names,
    pub(crate) secret: &'s Secret,
}

impl<'s> Login<'s> {
    /// # Errors
    /// A sentence that says what is missing, or what cannot be said by the mechanism.
    pub(crate) fn new(
        protocol: Protocol,
        mechanism: Mechanism,
        names: Names,
        secret: &'s Secret,
    ) -> Result<Self, String> {
        let login = Self {
            mechanism,
            names,
            secret,
        };
        match login.complaint(protocol) {
            None => Ok(login),
            Some(complaint) => Err(format!("{}: {complaint}", mechanism.name())),
        }
    }

    fn complaint(&self, protocol: Protocol) -> Option<&'static str> {
        let (user, authzid) = (&self.names.user, &self.names.authzid);
        let is_ascii = user.is_ascii() && self.secret.expose().is_ascii();
        match self.mechanism {
            Mechanism::Login if protocol == Protocol::Sieve => {
                Some("ManageSieve has no such command; say --mechanism PLAIN")
            }
            Mechanism::Login if user.is_empty() => Some("say who logs in by --user NAME"),
            Mechanism::Login if !authzid.is_empty() => {
                Some("cannot say whom to act as; leave --authzid out")
            }
            Mechanism::Login if !is_ascii => Some("takes ASCII alone; say --mechanism PLAIN"),
            Mechanism::Plain if user.is_empty() && self.secret.kind().is_none() => {
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

    /// The first message, as it travels.
    pub(crate) fn message(&self) -> Zeroizing<String> {
        self.message_with(self.secret.expose())
    }

    /// The same as it may be shown.
    pub(crate) fn shown(&self) -> String {
        shown(&self.message_with(&self.secret.to_string()))
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
                    ("", name) | (name, _) => format!("a={}", escaped(name)),
                };
                format!(
                    "n,{name},\x01host={host}\x01port={port}\x01auth=Bearer {credential}\x01\x01"
                )
            }
            Mechanism::Xoauth2 => format!("user={user}\x01auth=Bearer {credential}\x01\x01"),
        })
    }

    /// What a challenge that is not the first is answered with, after which the server
    /// refuses: RFC 7628, section 3.2.3, and an empty line for XOAUTH2.
    pub(crate) fn answer(&self) -> &'static str {
        match self.mechanism {
            Mechanism::Xoauth2 => "",
            _ => "\x01",
        }
    }
}

/// A `saslname` (RFC 5801, section 4).
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// What travels in base64, as it is shown.
pub(crate) fn shown(message: &str) -> String {
    format!("base64({message})")
}

/// What a server sent in base64, or nothing if it is not that.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.trim()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// As it travels. With padding: imapd 3.6.1 ends without it.
pub(crate) fn encoded(message: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sso_core::protocol::{caspt, oauthbearer, plain, xoauth2};

    fn secret(text: &str) -> Secret {
        let (mut console, _, _) = crate::term::console::Console::of_test(text);
        Secret::read(None, &mut console).unwrap()
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
    fn what_is_sent_is_what_the_plugin_reads() {
        let (ticket, token) = (secret("PT-12345"), secret("e30.e30.c2ln"));
        let made = |mechanism, authzid, user, secret| {
            let names = names(authzid, user);
            let login = Login::new(Protocol::Imap, mechanism, names, secret).unwrap();
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
    fn what_is_shown_of_it_is_no_credential() {
        let token = secret("e30.e30.c2ln");
        for mechanism in Mechanism::value_variants() {
            let names = names("", "alice");
            let login = Login::new(Protocol::Imap, *mechanism, names, &token).unwrap();
            let shown = login.shown();
            assert!(shown.contains("‹token, 12 bytes, sha256 "), "{shown}");
            assert!(!shown.contains("e30.e30"), "{shown}");
        }
    }

    #[test]
    fn what_a_mechanism_cannot_say_is_told_before_anything_is_sent() {
        let (ticket, password) = (secret("PT-12345"), secret("secrèt"));
        let complains = |protocol, mechanism, names, secret| {
            Login::new(protocol, mechanism, names, secret).err()
        };
        use Mechanism as M;
        use Protocol::{Imap, Sieve};
        for (protocol, mechanism, authzid, user, secret) in [
            (Imap, M::Login, "", "", &ticket),
            (Imap, M::Login, "bob", "alice", &ticket),
            (Imap, M::Login, "", "alice", &password),
            (Sieve, M::Login, "", "alice", &ticket),
            (Imap, M::Plain, "", "", &password),
            (Imap, M::Xoauth2, "bob", "alice", &ticket),
            (Imap, M::OauthBearer, "bob", "alice", &ticket),
        ] {
            let names = names(authzid, user);
            let told = complains(protocol, mechanism, names, secret).unwrap();
            assert!(told.starts_with(mechanism.name()), "{told}");
        }
        // A ticket or a token says itself whose it is.
        assert_eq!(complains(Imap, M::Plain, names("", ""), &ticket), None);
    }
}
