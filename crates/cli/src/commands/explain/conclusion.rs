//! The result of `explain`.

#![forbid(unsafe_code)]

use std::time::Duration;

use sso_core::auth::Source;
use sso_core::error::{Failure, Reason};
use sso_core::session_cache::Key;

/// The result of a validation that was explained.
pub(crate) struct Conclusion {
    /// The mail user, or why the login fails; `None` if CAS was not asked about a ticket.
    pub(crate) user: Option<Result<String, Failure>>,
    pub(crate) source: Option<Source>,
    pub(crate) key: Option<Key>,
    pub(crate) elapsed: Duration,
    /// Whether `key` belongs to the host tier: only then does the log show its digest.
    pub(crate) has_host: bool,
    /// Whether CAS was asked about a ticket.
    pub(crate) is_asked: bool,
    /// Whether a new validation gives another result than the session cache.
    pub(crate) differs: bool,
    /// Whether the service offers a mechanism for the credential.
    pub(crate) is_offered: bool,
}

impl Conclusion {
    /// CAS was not asked about the ticket.
    pub(crate) const NOT_ASKED: Self = Self {
        user: None,
        source: None,
        key: None,
        elapsed: Duration::ZERO,
        has_host: false,
        is_asked: false,
        differs: false,
        is_offered: true,
    };

    /// The service offers no mechanism for the credential.
    pub(crate) const NOT_OFFERED: Self = Self {
        is_offered: false,
        ..Self::NOT_ASKED
    };

    /// The login failed before a user was known.
    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            user: Some(Err(failure)),
            ..Self::NOT_ASKED
        }
    }

    /// Remarks beside the result.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.user.is_none() && self.is_offered {
            let what = "CAS was not asked, for that would use the ticket up; say --yes";
            notes.push(what.to_owned());
        }
        if self.is_asked {
            notes.push(self.fate_of_the_ticket().to_owned());
        }
        if self.differs {
            let what = "this is what the host knows; what would be found out now is another \
                        thing, and will be when its session ends";
            notes.push(what.to_owned());
        }
        notes
    }

    /// Whether the ticket was used up by the request to CAS.
    fn fate_of_the_ticket(&self) -> &'static str {
        let failure = self.user.as_ref().and_then(|user| user.as_ref().err());
        match failure.map(Failure::reason) {
            // No request was written.
            Some(
                Reason::ServerUnreachable
                | Reason::ServerUntrusted
                | Reason::TrustUnusable
                | Reason::ServerAvoided
                | Reason::BudgetSpent
                | Reason::ProcessExhausted,
            ) => "the ticket did not come to CAS: it is not used up",
            Some(Reason::ServerTimeout | Reason::ReplyUnusable) => {
                "the ticket may be used up, and no session was opened for it"
            }
            _ => "the ticket is used up, and no session was opened for it: log in with another one",
        }
    }
}
