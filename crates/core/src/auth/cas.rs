//! What decides on tickets: CAS, asked once for each.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::{Attempt, Verdict, map_user};
use crate::cas::Cas;
use crate::config::CasConfig;
use crate::credential::{CredentialKind, Ticket};
use crate::error::{Failure, Reason};
use crate::platform::deadline::Deadline;
use crate::policy::user_mapping::UserPolicy;
use crate::principal::Principal;
use crate::session_cache;
use crate::session_cache::{
    Admission, CachedResult, Channel, Charge, Key, Lifetimes, Outcome, Permission, Requester,
    SessionCacheHandle, ValidationLock, Validity,
};
use crate::trace::{Step, Told};

/// How long a login that waits for another one's answer goes without a look for itself; twice
/// as long after each look, up to the longest. It is woken when the answer is there: it
/// looks because who was to answer may have been killed.
const FIRST_LOOK: Duration = Duration::from_millis(8);
const LONGEST_LOOK: Duration = Duration::from_millis(256);

/// Whose turn it is to ask CAS about a ticket.
enum Turn {
    /// This login's.
    Ours(ValidationLock),
    /// Another login has had it, and this was the answer.
    Answered(CachedResult),
}

/// How often a login that waits for the trial of a half-open circuit breaker asks for its
/// result.
const TRIAL_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// CAS, and how long its word is good.
pub(crate) struct CasSide {
    pub(crate) validator: Cas,
    pub(crate) policy: [u8; 32],
    pub(crate) lifetimes: Lifetimes,
}

impl CasSide {
    pub(crate) fn new(config: CasConfig, users: &UserPolicy) -> Self {
        Self {
            policy: session_cache::digest(&format!("{} {:?}", config.policy(), users.mapping)),
            lifetimes: Lifetimes::of_tickets(&config),
            validator: Cas::new(config),
        }
    }

    /// Asks, unless another login is asking: then it waits for the answer.
    pub(crate) fn decide(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Key,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        self.decide_in_turn(sessions, key, ticket, users, attempt)
            .unwrap_or_else(|failure| Verdict::found(key, Err(failure)))
    }

    /// # Errors
    /// Why CAS was not asked, and nobody else's answer is known.
    fn decide_in_turn(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Key,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Result<Verdict, Failure> {
        let claim = match self.turn(sessions, &key, attempt)? {
            Turn::Ours(claim) => claim,
            Turn::Answered(known) => return Ok(Verdict::known(key, known)),
        };
        let origin = sessions.origin(attempt.mechanism, attempt.service)?;
        let result = self.validate(sessions, ticket, attempt);
        let result = result.and_then(|principal| map_user(users, principal, attempt.witness));
        match &result {
            Ok(user) => {
                let (validity, lifetimes) = (Validity::UNLIMITED, &self.lifetimes);
                sessions.insert_session(
                    CredentialKind::Ticket,
                    &key,
                    user,
                    validity,
                    lifetimes,
                    &origin,
                );
            }
            Err(failure) => sessions.insert_negative(CredentialKind::Ticket, &key, failure),
        }
        drop(claim);
        Ok(Verdict::found(key, result))
    }

    /// Waits until it is this login's turn, or another login has the answer.
    fn turn(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: &Key,
        attempt: &Attempt<'_>,
    ) -> Result<Turn, Failure> {
        let known = || sessions.known(CredentialKind::Ticket, key, &self.lifetimes);
        let mut pause = FIRST_LOOK;
        loop {
            // In this order: what is released after the first of these looks ends the wait.
            let release = sessions.next_release(key);
            let claim = sessions.try_lock_strict(key)?;
            // Whoever had the claim before may have had the answer.
            match (known()?, claim) {
                (Some(known), _) => return Ok(Turn::Answered(known)),
                (None, Some(claim)) => return Ok(Turn::Ours(claim)),
                (None, None) => {}
            }
            attempt.deadline.wait(pause, |time| release.wait(time))?;
            pause = (2 * pause).min(LONGEST_LOOK);
        }
    }

    fn validate(
        &self,
        sessions: &SessionCacheHandle<'_>,
        ticket: &Ticket,
        attempt: &Attempt<'_>,
    ) -> Result<Principal, Failure> {
        let Attempt {
            mechanism,
            service,
            client,
            claimed,
            deadline,
            witness,
            ..
        } = *attempt;
        let CasConfig {
            urls,
            timeout,
            budget,
            ..
        } = self.validator.config();
        let requester = Requester::new(client, Channel::of_mechanism(mechanism), claimed);
        let breaker = sessions.breaker(&format!("{urls:?} {timeout:?}"));
        let limits = sessions.rate_limits(&requester, *budget, &breaker);
        let may_ask = sessions.check_rate(&limits).and_then(|admission| {
            self.check_breaker(sessions, &breaker, service, deadline)?;
            Ok(admission == Admission::InAdvance)
        });
        let told = |may_ask: Option<&bool>| {
            let found = may_ask.map_or("CAS is not asked", |_| "CAS may be asked");
            Told::found(found).wanted(format!(
                "within the rate limit (caspt_budget) of {requester}, and CAS answers"
            ))
        };
        let in_advance = witness.see(Step::Server, told, may_ask)?;
        let left = deadline.remaining()?;
        if left < *timeout / 10 {
            return Err(too_late());
        }
        if in_advance {
            sessions.charge(&limits, Charge::Unanswered);
        }
        let began = sessions.now();
        let ask = || self.validator.validate(ticket, service, deadline, witness);
        let result = sessions.timed(CredentialKind::Ticket, ask);
        let outcome = outcome(&result);
        // A server that had little time, because others had taken it, is not to blame.
        let had_time = left >= *timeout / 2;
        if let Some(outcome) = outcome.filter(|outcome| *outcome != Outcome::TimedOut || had_time) {
            sessions.record_outcome(&breaker, began, outcome);
        }
        match result.as_ref().map_err(Failure::reason) {
            Ok(_) => sessions.refund(&limits),
            Err(_) if in_advance && outcome != Some(Outcome::TimedOut) => {
                sessions.take_back(&limits);
            }
            Err(Reason::ServerTimeout) if !in_advance && had_time => {
                sessions.charge(&limits, Charge::Unanswered);
            }
            Err(_) => {}
        }
        // Who makes tickets up may make up some that what stands before CAS refuses.
        if let Err(Reason::TicketRefused | Reason::ReplyUnusable) =
            result.as_ref().map_err(Failure::reason)
        {
            sessions.charge(&limits, Charge::Refused);
        }
        result
    }

    /// Goes on if the circuit breaker of CAS is closed. If it is half-open, or CAS is
    /// suspected of being down, one login makes a trial: it asks CAS about a ticket that
    /// nobody issued.
    ///
    /// # Errors
    /// [`Reason::ServerAvoided`] if CAS is down, [`Reason::ServerTimeout`] if the deadline
    /// passes before that is known, and why no trial can be made.
    fn check_breaker(
        &self,
        sessions: &SessionCacheHandle<'_>,
        breaker: &Key,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> Result<(), Failure> {
        let timeout = self.validator.config().timeout;
        loop {
            let left = deadline.remaining()?;
            // If CAS takes nearly all of that to answer, it is up, and this login too late.
            let patience = left.saturating_sub(timeout / 10);
            match sessions.permission(breaker, patience)? {
                Permission::Granted => return Ok(()),
                Permission::Wait => deadline.nap(TRIAL_POLL_INTERVAL)?,
                Permission::Denied => return Err(avoided()),
                // Silence within so little time would say nothing.
                Permission::Trial if left < timeout / 2 => {
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

/// What a validation says about the server, if it says anything.
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
