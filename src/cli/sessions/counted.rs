//! What was counted, and how it adds up, however it is told.

#![forbid(unsafe_code)]

use crate::credential::Kind;
use crate::outcome::{self, Reason};
use crate::session::{CREDENTIALS, Counters, Decider, Usage};

/// All that there is to tell.
pub(super) struct Stats {
    pub(super) counters: Option<Counters>,
    pub(super) usage: Option<Usage>,
}

/// The word for what a credential is.
pub(super) fn word(kind: Option<Kind>) -> &'static str {
    match kind {
        Some(Kind::Ticket) => "ticket",
        Some(Kind::Token) => "token",
        None => "none",
    }
}

/// How logins that did not fail, and those that did, add up.
pub(super) struct Sums<'c>(pub(super) &'c Counters);

impl Sums<'_> {
    /// Of a credential, what it came to.
    pub(super) fn of_outcome(&self, kind: Option<Kind>, outcome: Option<outcome::Kind>) -> u64 {
        let has_it = |failure: &Option<Reason>| failure.map(Reason::kind) == outcome;
        let failures = failures().filter(has_it);
        failures.map(|failure| self.of(kind, None, failure)).sum()
    }

    /// Of a credential, what decided, whatever it came to.
    pub(super) fn of_decider(&self, kind: Option<Kind>, decider: Decider) -> u64 {
        failures()
            .map(|failure| self.0.logins(kind, decider, failure))
            .sum()
    }

    /// Of a reason, whatever the credential.
    pub(super) fn of_reason(&self, reason: Reason) -> u64 {
        let of = |kind| self.of(kind, None, Some(reason));
        CREDENTIALS.into_iter().map(of).sum()
    }

    fn of(&self, kind: Option<Kind>, decider: Option<Decider>, failure: Option<Reason>) -> u64 {
        let deciders = Decider::ALL.into_iter();
        let meant = deciders.filter(|one| decider.is_none_or(|decider| decider == *one));
        meant
            .map(|decider| self.0.logins(kind, decider, failure))
            .sum()
    }
}

/// Accepted, and every reason not to be.
pub(super) fn failures() -> impl Iterator<Item = Option<Reason>> {
    std::iter::once(None).chain(Reason::ALL.iter().copied().map(Some))
}

/// What a login may come to: accepted, or one of the kinds of failures.
pub(super) fn outcomes() -> impl Iterator<Item = (Option<outcome::Kind>, &'static str)> {
    let failures = outcome::Kind::ALL.into_iter();
    std::iter::once((None, "accepted")).chain(failures.map(|kind| (Some(kind), kind.code())))
}
