//! What decides on tickets: CAS, asked once for each.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::{Attempt, Verdict, map_user};
use crate::cas::Cas;
use crate::config::CasConfig;
use crate::credential::{Kind, Ticket};
use crate::identity::UserPolicy;
use crate::outcome::{Failure, Reason};
use crate::principal::Principal;
use crate::session::{self, Access, Bounds, Key, Lifetimes};
use crate::witness::{Step, Told};

/// How long a login waits before it looks again whether another one has
/// validated the same credential: short beside any answer of an SSO server.
const PAUSE: Duration = Duration::from_millis(4);

/// CAS, and how long its word is good.
pub(super) struct CasSide {
    pub(super) validator: Cas,
    pub(super) policy: [u8; 32],
    pub(super) lifetimes: Lifetimes,
}

impl CasSide {
    pub(super) fn new(config: CasConfig, users: &UserPolicy) -> Self {
        Self {
            policy: session::digest(&format!("{} {:?}", config.policy(), users.mapping)),
            lifetimes: Lifetimes::of_tickets(&config),
            validator: Cas::new(config),
        }
    }

    /// Asks, unless another login is asking: then it waits for the answer.
    pub(super) fn decide(
        &self,
        sessions: &Access<'_>,
        key: Key,
        ticket: &Ticket,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        let known = || sessions.known(Kind::Ticket, &key, &self.lifetimes);
        let claim = loop {
            if let Some(claim) = sessions.claim(&key) {
                break claim;
            }
            if let Err(failure) = attempt.deadline.nap(PAUSE) {
                return Verdict::found(key, Err(failure));
            }
            if let Some(known) = known() {
                return Verdict::known(key, known);
            }
        };
        // Whoever had the claim before may have had the answer.
        if let Some(known) = known() {
            return Verdict::known(key, known);
        }
        let opening = sessions.opening(attempt.mechanism, attempt.service);
        let result = self.validate(sessions, ticket, attempt);
        let result = result.and_then(|principal| map_user(users, principal, attempt.witness));
        match &result {
            Ok(user) => {
                let (bounds, lifetimes) = (Bounds::NONE, &self.lifetimes);
                sessions.begin(Kind::Ticket, &key, user, bounds, lifetimes, &opening);
            }
            Err(failure) => sessions.refuse(Kind::Ticket, &key, failure),
        }
        drop(claim);
        Verdict::found(key, result)
    }

    fn validate(
        &self,
        sessions: &Access<'_>,
        ticket: &Ticket,
        attempt: &Attempt<'_>,
    ) -> Result<Principal, Failure> {
        let Attempt {
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
        let left = deadline.remaining()?;
        if left < *timeout / 10 {
            let what = "too little time is left to ask; the ticket is not put at risk";
            return Err(Failure::new(Reason::ServerTimeout, what));
        }
        let payer = &session::payer(client, claimed);
        let breaker = sessions.breaker(&format!("{urls:?} {timeout:?}"));
        let may_ask = sessions
            .may_spend(payer, *budget)
            .and_then(|()| sessions.may_ask(&breaker));
        let told = |may_ask: Option<&()>| {
            let whose = match (client, claimed) {
                (None, None) => "all",
                _ => payer.as_str(),
            };
            let found = may_ask.map_or("CAS is not asked", |()| "CAS may be asked");
            Told::found(found).wanted(format!("caspt_budget of {whose}, and not silent of late"))
        };
        witness.see(Step::Server, told, may_ask)?;
        let ask = || self.validator.validate(ticket, service, deadline, witness);
        let result = sessions.timed(Kind::Ticket, ask);
        match result.as_ref().map_err(Failure::reason) {
            // A server that had little time, because others had taken it, is
            // not to blame.
            Err(Reason::ServerTimeout) if left < *timeout / 2 => {}
            Err(Reason::ServerUnreachable | Reason::ServerTimeout) => {
                sessions.asked(&breaker, false);
            }
            // These say nothing about the server.
            Err(
                Reason::Interrupted
                | Reason::TrustUnusable
                | Reason::ProcessExhausted
                | Reason::InternalError,
            ) => {}
            _ => sessions.asked(&breaker, true),
        }
        match result.as_ref().map_err(Failure::reason) {
            Ok(_) => sessions.earn(payer, *budget),
            // Who makes tickets up may make up some that what stands before CAS refuses.
            Err(Reason::TicketRefused | Reason::ReplyUnusable) => sessions.spend(payer, *budget),
            Err(_) => {}
        }
        result
    }
}
