//! The interface of the three mail protocols.

#![forbid(unsafe_code)]

use super::connection::Connection;
use super::mechanism::{Login, Mechanism};

/// The capabilities that a server announces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// SASL mechanisms, as the server spells them.
    pub(crate) mechanisms: Vec<String>,
    pub(crate) starttls: bool,
    /// Whether the AUTH or AUTHENTICATE command may include the first message.
    pub(crate) initial_response: bool,
    /// Whether the protocol's own command accepts a password.
    pub(crate) login: bool,
}

impl Capabilities {
    /// Whether the server offers this mechanism.
    pub(crate) fn offer(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Login => self.login,
            other => self.lists(other.name()),
        }
    }

    /// Whether the server lists a SASL mechanism of this name.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.mechanisms
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The server's reply to an authentication.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) ok: bool,
    /// The text of the reply.
    pub(crate) text: String,
    /// The decoded challenge that described the failure before the reply, usually JSON.
    pub(crate) challenge: Option<String>,
}

/// The client side of a mail protocol.
pub(crate) trait MailProtocol {
    /// Reads the server's greeting.
    fn greeting(&mut self, connection: &mut Connection) -> Result<(), String>;

    /// Reads the server's capabilities in the current state.
    fn capabilities(&mut self, connection: &mut Connection) -> Result<Capabilities, String>;

    /// Requests TLS, and reads the server's reply to that.
    fn start_tls(&mut self, connection: &mut Connection) -> Result<(), String>;

    /// Authenticates.
    fn log_in(
        &mut self,
        connection: &mut Connection,
        login: &Login,
        capabilities: &Capabilities,
    ) -> Result<Reply, String>;

    /// Logs out, and waits for the server's reply.
    fn log_out(&mut self, connection: &mut Connection) -> Result<(), String>;
}

/// The maximum number of challenges in one authentication. The supported mechanisms need at most
/// two.
pub(crate) const MAX_CHALLENGES: usize = 5;

/// The error for a response other than the expected one.
pub(crate) fn unexpected<T>(expected: &str, line: &str) -> Result<T, String> {
    // The line is not truncated: the credential could not be masked in a truncated line.
    Err(format!(
        "the server should say {expected}, and says \"{line}\""
    ))
}
