//! The steps with tokens.

use super::Outcome;
use super::login::{Credential, Expected};
use super::walkthrough::{KNOWN, Walkthrough};

/// Lifetime of the application's tokens in seconds.
pub const TOKEN_LIFETIME_SECONDS: i64 = 600;

/// The expected outcome of a refused token.
const REFUSED: Expected<'_> = Expected {
    status: "NO authentication failure",
    challenge: Some("\"invalid_token\""),
    ..KNOWN
};

impl Walkthrough<'_> {
    /// Logs in with a token by both mechanisms.
    pub fn token(&mut self) -> Outcome {
        self.page.heading(
            "8. An application signs a token for alice with its own key and logs in by OAUTHBEARER. \
             imapd has the public key and asks no server.",
        )?;
        let token = self
            .servers
            .application
            .token("alice", TOKEN_LIFETIME_SECONDS);
        let expected = Expected {
            logged: "outcome=accepted user=alice source=validated",
            ..KNOWN
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)?;
        self.page.heading(
            "9. The same token by XOAUTH2, which most mail programs use. Another imapd process \
             answers and finds the session in the cache.",
        )?;
        self.log_in(&Credential::xoauth2("alice", &token), &KNOWN)
    }

    /// Logs in with an unsigned token.
    pub fn unsigned_token(&mut self) -> Outcome {
        self.page
            .heading("10. An attacker without a key tries an unsigned token.")?;
        let token = self.servers.application.unsigned("alice");
        let expected = Expected {
            logged: "outcome=refused reason=algorithm_not_allowed",
            ..REFUSED
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)
    }

    /// Logs in with an expired token.
    pub fn expired_token(&mut self) -> Outcome {
        self.page
            .heading("11. The application uses a token that expired an hour ago.")?;
        let token = self.servers.application.token("alice", -3600);
        let expected = Expected {
            logged: "outcome=refused reason=token_expired",
            ..REFUSED
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)
    }
}
