//! The part of the demonstration that is about programs that can only send a password, step by step.

use super::Outcome;
use super::login::{Credential, Expected};
use super::story::{KNOWN, Story};

impl Story<'_> {
    /// The ticket of the first steps, where the password would be.
    pub fn ticket_as_password(&mut self) -> Outcome {
        self.page.heading(
            "6. alice's other program knows only LOGIN: the same ticket, where the password would be. \
             imapd asks sasl-sso serve, as it would ask saslauthd, and there the ticket is known, too.",
        )?;
        self.log_in(&Credential::password("alice", &self.alice), &KNOWN)
    }

    /// A password that is one.
    pub fn ordinary_password(&mut self) -> Outcome {
        self.page.heading(
            "7. An ordinary password. It would go on to the stock saslauthd at sso_fallback_socket; \
             here is none.",
        )?;
        let expected = Expected {
            status: "NO Login failed: authentication failure",
            logged: "outcome=refused reason=no_credential",
            ..KNOWN
        };
        self.log_in(&Credential::password("alice", "password"), &expected)
    }
}
