//! The part of the demonstration that is about tokens, step by step.

use super::Outcome;
use super::login::{Credential, Expected};
use super::story::{KNOWN, Story};

/// How long the application's tokens are good, in seconds.
pub const LIFETIME: i64 = 600;

/// A token that the plugin does not take.
const REFUSED: Expected<'_> = Expected {
    status: "NO authentication failure",
    challenge: Some("\"invalid_token\""),
    ..KNOWN
};

impl Story<'_> {
    /// A token of the application's, by one mechanism and then by the other.
    pub fn token(&mut self) -> Outcome {
        self.page.heading(
            "8. An application signs a token for alice with its own key and logs in by OAUTHBEARER. \
             imapd has the public key: nobody is asked.",
        )?;
        let token = self.site.application.token("alice", LIFETIME);
        let expected = Expected {
            logged: "outcome=accepted user=alice source=validated",
            ..KNOWN
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)?;
        self.page.heading(
            "9. The same token by XOAUTH2, as most mail programs have it. Another imapd process \
             answers, which need not verify it again.",
        )?;
        self.log_in(&Credential::xoauth2("alice", &token), &KNOWN)
    }

    /// A token that is not signed at all.
    pub fn unsigned_token(&mut self) -> Outcome {
        self.page
            .heading("10. Somebody without a key tries a token that says that it is not signed.")?;
        let token = self.site.application.unsigned("alice");
        let expected = Expected {
            logged: "outcome=refused reason=algorithm_not_allowed",
            ..REFUSED
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)
    }

    /// A token whose time is over.
    pub fn expired_token(&mut self) -> Outcome {
        self.page
            .heading("11. The application comes with a token that expired an hour ago.")?;
        let token = self.site.application.token("alice", -3600);
        let expected = Expected {
            logged: "outcome=refused reason=token_expired",
            ..REFUSED
        };
        self.log_in(&Credential::oauthbearer(&token), &expected)
    }
}
