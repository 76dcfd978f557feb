//! Logins with a ticket: CAS is asked once about each ticket, whatever happens.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::authenticator::{Attempt, map_user};
use super::outcome::Verdict;
use crate::cas::CasValidator;
use crate::config::CasConfig;
use crate::credential::{CredentialKind, Ticket};
use crate::error::{Failure, Reason};
use crate::platform::deadline::Deadline;
use crate::policy::host_names::HostNamePolicy;
use crate::policy::user_mapping::UserPolicy;
use crate::principal::Principal;
use crate::session_cache::{
    self, CachedResult, Channel, Charge, Claimed, Key, Lifetimes, Outcome, Permission, Requester,
    SessionCacheHandle, ValidationLock, Validity,
};
use crate::trace::{Check, Comparison, Step};

/// The first and the maximum interval at which a login that waits for the validation lock looks
/// for itself; the interval doubles each time. Usually the login is woken by the release of the
/// lock. It polls because the holder may have been killed.
const FIRST_POLL_INTERVAL: Duration = Duration::from_millis(8);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(256);

/// How often a login that waits for the trial of a half-open circuit breaker asks for the result.
const TRIAL_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The validator of tickets, and what belongs to all logins with a ticket.
pub(crate) struct CasAuthenticator {
    pub(crate) validator: CasValidator,
    /// The digest of the policy, which is a part of the cache key.
    pub(crate) policy: [u8; 32],
    pub(crate) lifetimes: Lifetimes,
}

/// What a login finds after waiting for the validation lock.
enum LockResult {
    /// The lock: this login validates the ticket.
    Acquired(ValidationLock),
    /// The result of the login that held the lock before.
    Answered(CachedResult),
}

impl CasAuthenticator {
    pub(crate) fn new(config: CasConfig, users: &UserPolicy) -> Self {
        Self {
            policy: session_cache::digest(&format!("{} {:?}", config.policy(), users.mapping)),
            lifetimes: Lifetimes::of_tickets(&config),
            validator: CasValidator::new(config),
        }
    }

    /// Validates a ticket. If another login of the host validates the same ticket, this one waits
    /// for that result.
    pub(crate) fn authenticate(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Key,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        self.authenticate_locked(sessions, key, ticket, users, attempt)
            .unwrap_or_else(|failure| Verdict::validated(key, Err(failure)))
    }

    /// # Errors
    /// Why CAS was not asked, and no other login has a result.
    fn authenticate_locked(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Key,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Result<Verdict, Failure> {
        let lock = match self.lock(sessions, &key, attempt)? {
            LockResult::Acquired(lock) => lock,
            LockResult::Answered(result) => return Ok(Verdict::cached(key, result)),
        };
        let origin = sessions.origin(attempt.mechanism, attempt.service)?;
        let result = self.validate(sessions, ticket, users, attempt);
        let result = result.and_then(|principal| map_user(users, principal, attempt.observer));
        let kind = CredentialKind::Ticket;
        match &result {
            Ok(user) => {
                let (validity, lifetimes) = (Validity::UNLIMITED, &self.lifetimes);
                sessions.insert_session(kind, &key, user, validity, lifetimes, &origin);
            }
            Err(failure) => sessions.insert_negative(kind, &key, failure),
        }
        drop(lock);
        Ok(Verdict::validated(key, result))
    }

    /// Waits until this login has the validation lock, or another login has the result.
    fn lock(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: &Key,
        attempt: &Attempt<'_>,
    ) -> Result<LockResult, Failure> {
        let mut interval = FIRST_POLL_INTERVAL;
        loop {
            // The order matters: a release that happens after this line ends the wait below.
            let release = sessions.next_release(key);
            let lock = sessions.try_lock_strict(key)?;
            // The previous holder of the lock may have left a result.
            let result = sessions.lookup(CredentialKind::Ticket, key, &self.lifetimes)?;
            match (result, lock) {
                (Some(result), _) => return Ok(LockResult::Answered(result)),
                (None, Some(lock)) => return Ok(LockResult::Acquired(lock)),
                (None, None) => {}
            }
            attempt.deadline.wait(interval, |time| release.wait(time))?;
            interval = (2 * interval).min(MAX_POLL_INTERVAL);
        }
    }

    /// Asks CAS about a ticket, within the rate limit and if the circuit breaker allows it.
    fn validate(
        &self,
        sessions: &SessionCacheHandle<'_>,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Result<Principal, Failure> {
        let Attempt {
            mechanism,
            service,
            client,
            claimed,
            deadline,
            observer,
            ..
        } = *attempt;
        let CasConfig {
            urls,
            timeout,
            rate_limit,
            ..
        } = self.validator.config();
        let requester = Requester::new(client, Channel::of_mechanism(mechanism), claimed);
        let breaker = sessions.breaker(&format!("{urls:?} {timeout:?}"));
        let limits = sessions.rate_limits(&requester, *rate_limit, &breaker);
        let admission = sessions.check_rate(&limits).and_then(|allowance| {
            self.check_breaker(sessions, &breaker, service, deadline)?;
            sessions.admit(&limits, &allowance)
        });
        let is_admitted = admission.is_ok();
        let admission = observer.observe(Check::new(Step::Server, admission, || {
            let actual = match is_admitted {
                true => "CAS may be asked",
                false => "CAS is not asked",
            };
            Comparison::actual(actual).expected(format!(
                "within the rate limit (caspt_rate_limit) of {requester}, and CAS answers"
            ))
        }))?;
        // The charge may have waited for other processes.
        let remaining = deadline.remaining().and_then(|remaining| match remaining {
            remaining if remaining < *timeout / 10 => Err(too_late()),
            remaining => Ok(remaining),
        });
        let remaining = remaining.inspect_err(|_| sessions.settle(&limits, admission, None))?;
        let began = sessions.now();
        let validate = || self.validator.validate(ticket, service, deadline, observer);
        let result = sessions.timed(CredentialKind::Ticket, validate);
        let outcome = outcome(&result);
        // The server is not to blame for a time-out if other work used up most of the time.
        let had_time = remaining >= *timeout / 2;
        if let Some(outcome) = outcome.filter(|outcome| *outcome != Outcome::TimedOut || had_time) {
            sessions.record_outcome(&breaker, began, outcome);
        }
        let is_charged = admission.is_charged_as_unanswered();
        let charge = match result.as_ref().map_err(Failure::reason) {
            Ok(principal) => {
                let relation = |name| relation_of(users, principal, name);
                let claimed = claimed.map_or(Claimed::Own, relation);
                sessions.refund(&limits, admission, claimed);
                return result;
            }
            // An invented ticket may also be refused by a proxy in front of CAS, whose reply is
            // unusable.
            Err(Reason::TicketRefused | Reason::ReplyUnusable) => Some(Charge::Refused),
            Err(Reason::ServerTimeout) if is_charged || had_time => Some(Charge::Unanswered),
            Err(_) => None,
        };
        sessions.settle(&limits, admission, charge);
        result
    }

    /// Requires that the circuit breaker of CAS is closed. If it is half-open, or CAS is suspected
    /// of being down, one login makes a trial: it asks CAS about a ticket that nobody issued.
    ///
    /// # Errors
    /// [`Reason::ServerAvoided`] if CAS is down, [`Reason::ServerTimeout`] if the deadline passes
    /// before that is known, and why no trial can be made.
    fn check_breaker(
        &self,
        sessions: &SessionCacheHandle<'_>,
        breaker: &Key,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let timeout = self.validator.config().timeout;
        loop {
            let remaining = deadline.remaining()?;
            // If CAS needs nearly all of this time to answer, CAS is up and this login is too
            // late.
            let patience = remaining.saturating_sub(timeout / 10);
            match sessions.permission(breaker, patience)? {
                Permission::Granted => return Ok(()),
                Permission::Wait => deadline.nap(TRIAL_POLL_INTERVAL)?,
                Permission::Denied => return Err(avoided()),
                // A time-out after so little time would prove nothing.
                Permission::Trial if remaining < timeout / 2 => {
                    sessions.end_trial(breaker, None);
                    return Err(too_late());
                }
                Permission::Trial => {
                    let result = self.validator.try_out(service, &deadline.within(patience));
                    let outcome = outcome(&result);
                    let answered = outcome.map(|outcome| outcome == Outcome::Answered);
                    sessions.end_trial(breaker, answered);
                    match (answered, result) {
                        (Some(true), _) => {}
                        (None, Err(failure)) => return Err(failure),
                        _ => return Err(avoided()),
                    }
                }
            }
        }
    }
}

fn avoided() -> Failure {
    let what = "CAS did not answer several times, nor to a trial; it is tried again in seconds";
    Failure::new(Reason::ServerAvoided, what)
}

fn too_late() -> Failure {
    let what = "too little time is left to ask; the ticket is not put at risk";
    Failure::new(Reason::ServerTimeout, what)
}

/// How `name`, which the client sent, is related to the user of an accepted ticket. The host's own
/// canonicalization is not known here.
fn relation_of(users: &UserPolicy, principal: &Principal, name: &str) -> Claimed {
    // The usual case needs no mapping.
    if name == principal.as_str() {
        return Claimed::Own;
    }
    let Ok(user) = users.mapping.mail_user(principal.as_str()) else {
        return Claimed::Another;
    };
    let is_user = |name: &str| name.eq_ignore_ascii_case(user.as_str());
    let mapped = users.mapping.mail_user(name);
    // The host may remove its default domain from the user's name.
    let is_without_domain = HostNamePolicy::Same.accepts(&user, &name.to_ascii_lowercase());
    if mapped.is_ok_and(|mapped| is_user(mapped.as_str())) || is_without_domain {
        return Claimed::Own;
    }
    // The host may also remove a domain from the client's name.
    match name.rsplit_once('@') {
        Some((local, _)) if is_user(local) => Claimed::WithDomain,
        _ => Claimed::Another,
    }
}

/// What a validation shows about the server; `None` if nothing.
fn outcome(result: &Result<Principal, Failure>) -> Option<Outcome> {
    match result.as_ref().map_err(Failure::reason) {
        Err(Reason::ServerTimeout) => Some(Outcome::TimedOut),
        Err(Reason::ServerUnreachable) => Some(Outcome::Unreachable),
        Err(
            Reason::Interrupted
            | Reason::TrustUnusable
            | Reason::ProcessExhausted
            | Reason::InternalError,
        ) => None,
        _ => Some(Outcome::Answered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_vouches_for_each_form_of_its_users_name_only() {
        let mut users = UserPolicy::default();
        let claimed = |users: &UserPolicy, principal: &str, name: &str| {
            relation_of(users, &Principal::validated(principal).unwrap(), name)
        };
        for (principal, name, expected) in [
            ("alice", "alice", Claimed::Own),
            ("Alice", "alice", Claimed::Own),
            ("alice", "ALICE", Claimed::Own),
            ("alice@univ.fr", "alice", Claimed::Own),
            ("alice", "alice@univ.fr", Claimed::WithDomain),
            ("alice@univ.fr", "alice@other.fr", Claimed::Another),
            ("alice", "bob", Claimed::Another),
            ("alice", "bob@alice", Claimed::Another),
            ("alice", "", Claimed::Another),
        ] {
            let found = claimed(&users, principal, name);
            assert_eq!(found, expected, "{principal} {name}");
        }
        users.mapping.strip_domains = vec!["univ.fr".to_owned()];
        users.mapping.realm = Some("mail.univ.fr".to_owned());
        for name in ["alice", "alice@univ.fr", "alice@mail.univ.fr"] {
            assert_eq!(
                claimed(&users, "alice@univ.fr", name),
                Claimed::Own,
                "{name}"
            );
        }
    }
}
