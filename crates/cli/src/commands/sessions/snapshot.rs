//! A snapshot of the counters and the session cache, and totals of the counters.

#![forbid(unsafe_code)]

use sso_core::credential::CredentialKind;
use sso_core::error;
use sso_core::error::Reason;
use sso_core::metrics::{CREDENTIALS, Counters, Decider};
use sso_core::session_cache::Usage;

/// The statistics; a part that is missing on this host is `None`.
pub(crate) struct Snapshot {
    pub(crate) counters: Option<Counters>,
    pub(crate) usage: Option<Usage>,
}

/// The name of a kind of credential.
pub(crate) fn credential_word(kind: Option<CredentialKind>) -> &'static str {
    match kind {
        Some(CredentialKind::Ticket) => "ticket",
        Some(CredentialKind::Token) => "token",
        None => "none",
    }
}

/// Totals of the login counters.
pub(crate) struct LoginTotals<'c>(pub(crate) &'c Counters);

impl LoginTotals<'_> {
    /// Logins with this kind of credential and this outcome; the outcome `None` is success.
    pub(crate) fn by_outcome(
        &self,
        kind: Option<CredentialKind>,
        outcome: Option<error::FailureKind>,
    ) -> u64 {
        let matches_outcome = |failure: &Option<Reason>| failure.map(Reason::kind) == outcome;
        let failures = failures().filter(matches_outcome);
        failures.map(|failure| self.sum(kind, None, failure)).sum()
    }

    /// Logins with this kind of credential that were decided by `decider`.
    pub(crate) fn by_decider(&self, kind: Option<CredentialKind>, decider: Decider) -> u64 {
        failures()
            .map(|failure| self.0.logins(kind, decider, failure))
            .sum()
    }

    /// Logins that failed for this reason, with any credential.
    pub(crate) fn by_reason(&self, reason: Reason) -> u64 {
        let of = |kind| self.sum(kind, None, Some(reason));
        CREDENTIALS.into_iter().map(of).sum()
    }

    fn sum(
        &self,
        kind: Option<CredentialKind>,
        decider: Option<Decider>,
        failure: Option<Reason>,
    ) -> u64 {
        let deciders = Decider::ALL.into_iter();
        let selected = deciders.filter(|one| decider.is_none_or(|decider| decider == *one));
        selected
            .map(|decider| self.0.logins(kind, decider, failure))
            .sum()
    }
}

/// Success (`None`) and all reasons for failure.
pub(crate) fn failures() -> impl Iterator<Item = Option<Reason>> {
    std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some))
}

/// All outcomes of a login and their names: accepted, and the kinds of failure.
pub(crate) fn outcomes() -> impl Iterator<Item = (Option<error::FailureKind>, &'static str)> {
    let failures = error::FailureKind::ALL.into_iter();
    std::iter::once((None, "accepted")).chain(failures.map(|kind| (Some(kind), kind.code())))
}
