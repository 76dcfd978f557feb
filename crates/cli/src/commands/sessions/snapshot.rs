//! What was counted, and how it adds up, however it is told.

#![forbid(unsafe_code)]

use sso_core::credential::CredentialKind;
use sso_core::error;
use sso_core::error::Reason;
use sso_core::metrics::{CREDENTIALS, Counters, Decider};
use sso_core::session_cache::Usage;

/// All that there is to tell.
pub(crate) struct Stats {
    pub(crate) counters: Option<Counters>,
    pub(crate) usage: Option<Usage>,
}

/// The word for what a credential is.
pub(crate) fn word(kind: Option<CredentialKind>) -> &'static str {
    match kind {
        Some(CredentialKind::Ticket) => "ticket",
        Some(CredentialKind::Token) => "token",
        None => "none",
    }
}

/// How logins that did not fail, and those that did, add up.
pub(crate) struct Sums<'c>(pub(crate) &'c Counters);

impl Sums<'_> {
    /// Of a credential, what it came to.
    pub(crate) fn of_outcome(
        &self,
        kind: Option<CredentialKind>,
        outcome: Option<error::FailureKind>,
    ) -> u64 {
        let has_it = |failure: &Option<Reason>| failure.map(Reason::kind) == outcome;
        let failures = failures().filter(has_it);
        failures.map(|failure| self.of(kind, None, failure)).sum()
    }

    /// Of a credential, what decided, whatever it came to.
    pub(crate) fn of_decider(&self, kind: Option<CredentialKind>, decider: Decider) -> u64 {
        failures()
            .map(|failure| self.0.logins(kind, decider, failure))
            .sum()
    }

    /// Of a reason, whatever the credential.
    pub(crate) fn of_reason(&self, reason: Reason) -> u64 {
        let of = |kind| self.of(kind, None, Some(reason));
        CREDENTIALS.into_iter().map(of).sum()
    }

    fn of(
        &self,
        kind: Option<CredentialKind>,
        decider: Option<Decider>,
        failure: Option<Reason>,
    ) -> u64 {
        let deciders = Decider::ALL.into_iter();
        let meant = deciders.filter(|one| decider.is_none_or(|decider| decider == *one));
        meant
            .map(|decider| self.0.logins(kind, decider, failure))
            .sum()
    }
}

/// Accepted, and every reason not to be.
pub(crate) fn failures() -> impl Iterator<Item = Option<Reason>> {
    std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some))
}

/// What a login may come to: accepted, or one of the kinds of failures.
pub(crate) fn outcomes() -> impl Iterator<Item = (Option<error::FailureKind>, &'static str)> {
    let failures = error::FailureKind::ALL.into_iter();
    std::iter::once((None, "accepted")).chain(failures.map(|kind| (Some(kind), kind.code())))
}
