//! What the three protocols have in common, as far as a login goes.

#![forbid(unsafe_code)]

use super::connection::Link;
use super::mechanism::{Login, Mechanism};

/// What a server says that it can do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// SASL mechanisms, as the server writes them.
    pub(crate) mechanisms: Vec<String>,
    pub(crate) starttls: bool,
    /// Whether the first message may stand in the command itself.
    pub(crate) initial_response: bool,
    /// Whether a password may be sent by a command of the protocol's own.
    pub(crate) login: bool,
}

impl Capabilities {
    /// Whether this mechanism is among them.
    pub(crate) fn offer(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Login => self.login,
            other => self.lists(other.name()),
        }
    }

    /// Whether there is a SASL mechanism of that name.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.mechanisms
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The end of an authentication, as the server put it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) ok: bool,
    /// The server's words.
    pub(crate) text: String,
    /// What it said about the failure before that, decoded: JSON, mostly.
    pub(crate) challenge: Option<String>,
}

/// A protocol's own words.
pub(crate) trait Dialect {
    /// Takes the server's greeting.
    fn greeting(&mut self, link: &mut Link) -> Result<(), String>;

    /// Learns what the server can do at this point.
    fn capabilities(&mut self, link: &mut Link) -> Result<Capabilities, String>;

    /// Asks for TLS, up to the server's consent.
    fn start_tls(&mut self, link: &mut Link) -> Result<(), String>;

    /// Authenticates.
    fn log_in(
        &mut self,
        link: &mut Link,
        login: &Login,
        capabilities: &Capabilities,
    ) -> Result<Reply, String>;

    /// Takes leave, and waits for the server to do so.
    fn log_out(&mut self, link: &mut Link) -> Result<(), String>;
}

/// How often a server may challenge: none of our mechanisms needs more than two.
pub(crate) const MOST_CHALLENGES: usize = 5;

/// The complaint about a server that says something else than it should.
pub(crate) fn unexpected<T>(expected: &str, line: &str) -> Result<T, String> {
    // All of it: of a credential that was cut off nobody would see what it is.
    Err(format!(
        "the server should say {expected}, and says \"{line}\""
    ))
}
