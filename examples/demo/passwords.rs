//! The steps with clients that can only send a password.

use super::Outcome;
use super::login::{Credential, Expected};
use super::walkthrough::{KNOWN, Walkthrough};

impl Walkthrough<'_> {
    /// Logs in with the first ticket as the password.
    pub fn ticket_as_password(&mut self) -> Outcome {
        self.page.heading(
            "6. alice's other program knows only LOGIN: it sends the same ticket as the password. \
             imapd asks sasl-sso serve, as it would ask saslauthd. The daemon finds the same session.",
        )?;
        self.log_in(&Credential::password("alice", &self.alice), &KNOWN)
    }

    /// Logs in with an ordinary password.
    pub fn ordinary_password(&mut self) -> Outcome {
        self.page.heading(
            "7. An ordinary password. The daemon would pass it to the saslauthd at sso_fallback_socket; \
             here, there is none.",
        )?;
        let expected = Expected {
            status: "NO Login failed: authentication failure",
            logged: "outcome=refused reason=no_credential",
            ..KNOWN
        };
        self.log_in(&Credential::password("alice", "password"), &expected)
    }
}
