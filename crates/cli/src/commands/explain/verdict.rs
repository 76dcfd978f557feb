//! What a case came to.

#![forbid(unsafe_code)]

use std::time::Duration;

use sso_core::auth::Source;
use sso_core::error::{Failure, Reason};
use sso_core::session_cache::Key;

/// What it came to.
pub(crate) struct Conclusion {
    /// The mail user, or why there is none; nothing if a ticket was not asked about.
    pub(crate) user: Option<Result<String, Failure>>,
    pub(crate) source: Option<Source>,
    pub(crate) key: Option<Key>,
    pub(crate) elapsed: Duration,
    /// Whether the digest is the host's, as it stands in the log.
    pub(crate) has_host: bool,
    /// Whether CAS was asked about a ticket.
    pub(crate) is_asked: bool,
    /// Whether what is known is not what would be found out now.
    pub(crate) differs: bool,
    /// Whether the service offers a mechanism by which it can come.
    pub(crate) is_offered: bool,
}

impl Conclusion {
    /// A ticket that was not asked about.
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

    /// One that cannot reach the plugin.
    pub(crate) const NOT_OFFERED: Self = Self {
        is_offered: false,
        ..Self::NOT_ASKED
    };

    /// One that did not come as far as a name.
    pub(crate) fn of(failure: Failure) -> Self {
        Self {
            user: Some(Err(failure)),
            ..Self::NOT_ASKED
        }
    }

    /// What is to be known beside the verdict.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.user.is_none() && self.is_offered {
            let what = "CAS was not asked, for that would use the ticket up; say --yes";
            notes.push(what.to_owned());
        }
        if self.is_asked {
            notes.push(self.what_became_of_the_ticket().to_owned());
        }
        if self.differs {
            let what = "this is what the host knows; what would be found out now is another \
                        thing, and will be when its session ends";
            notes.push(what.to_owned());
        }
        notes
    }

    /// After CAS was to be asked about it.
    fn what_became_of_the_ticket(&self) -> &'static str {
        let failure = self.user.as_ref().and_then(|user| user.as_ref().err());
        match failure.map(Failure::reason) {
            // Before a connection stood, or instead of one.
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
