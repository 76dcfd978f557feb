//! Validations of credentials that are not known: each once, and with a fair share of the
//! workers for each name.
//!
//! # What one client can take from others
//!
//! The protocol tells the user, the service and the realm; stock clients tell no address.
//! So all that is shared is shared by the name of the user, as the client gives it:
//!
//! - Requests with equal session keys take one worker together (`flights`).
//! - Tickets, whose workers wait for CAS, and tokens, whose workers compute, have workers
//!   of their own (`pool`).
//! - One name has at most 4 workers of a kind, its turn among the names in the queue, and
//!   256 requests that wait; so has one credential, under however many names.
//!
//! What remains: who brings many different credentials under the name of a victim keeps
//! new credentials of that name waiting, and of no other. Who does so under many names
//! takes as many shares: 16 names have all workers for tickets as long as CAS takes to
//! answer, and a newcomer then waits for the next that is free; 512 names fill the queue.
//! What is known, and ordinary passwords, never wait for any of that.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::Instant as TokioInstant;

use super::log_writer::Journal;
use super::pending_limit::WaitingRequests;
use super::responder::{Login, MECHANISM};
use super::single_flight::{Flights, Landing, NoVerdict, Role};
use super::worker_pool::{Limits, Pool};
use sso_core::auth::{Attempt, Verdict};
use sso_core::credential::CredentialKind;
use sso_core::error::{Failure, Reason};
use sso_core::platform::deadline::Deadline;
use sso_core::platform::log::Log;
use sso_core::session_cache::{Key, Secret};
use sso_core::trace::CheckObserver;

/// For tickets: their workers wait for CAS, each for as long as `caspt_timeout`.
const TICKETS: Limits = Limits {
    workers: 64,
    workers_per_name: 4,
    queue: 512,
};

/// For tokens: their workers compute, unless an issuer's keys must be fetched.
const TOKENS: Limits = Limits {
    workers: 32,
    workers_per_name: 4,
    queue: 512,
};

/// How many credentials may be decided on at once, beyond those that are known.
pub(crate) const WORKERS: usize = TICKETS.workers + TOKENS.workers;

/// How many requests of one name, and how many with one credential, may wait at once: a
/// sixteenth of all connections.
const WAITING: usize = 256;

/// The validations that are under way, and those that wait.
pub(crate) struct Validations {
    tickets: Arc<Pool>,
    tokens: Arc<Pool>,
    waiting_by_name: WaitingRequests<Arc<str>>,
    waiting_by_key: WaitingRequests<Key>,
    flights: Flights,
    /// What the keys of flights are made with.
    secret: Secret,
}

impl Validations {
    /// # Errors
    /// That the system has no random bytes to give.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            tickets: Pool::new(TICKETS),
            tokens: Pool::new(TOKENS),
            waiting_by_name: WaitingRequests::new(WAITING),
            waiting_by_key: WaitingRequests::new(WAITING),
            flights: Flights::default(),
            secret: Secret::new(&Secret::random()?),
        })
    }

    /// The verdict on a credential that is not known.
    pub(crate) async fn verdict(&self, login: &Arc<Login>, journal: &Journal) -> Verdict {
        let authenticator = &login.office.authenticator;
        let patience = authenticator
            .timeout(login.credential.kind())
            .unwrap_or_default();
        let end = TokioInstant::from_std(login.start + patience);
        let Some(key) = authenticator.key_with(&self.secret, &login.credential, &login.service)
        else {
            let what = "credentials of this kind are not configured";
            return Failure::new(Reason::InternalError, what).into();
        };
        let counted = (
            self.waiting_by_name.add(Arc::from(login.name.as_str())),
            self.waiting_by_key.add(key),
        );
        let (Some(_), Some(_)) = &counted else {
            let what = "too many requests of this name, or with this credential, wait already";
            return Failure::new(Reason::Busy, what).into();
        };
        loop {
            let follower = match self.flights.join(key) {
                Role::Leader(leader) => {
                    let verdict = self.validate(login, journal, end).await;
                    leader.land(Landing::new(login, &verdict));
                    return verdict;
                }
                Role::Follower(follower) => follower,
            };
            match follower.verdict(end).await {
                Ok(landing) => {
                    if let Some(verdict) = adopt(login, &landing, journal) {
                        return verdict;
                    }
                }
                Err(NoVerdict::Abandoned) => {}
                Err(NoVerdict::Late) => {
                    let what = "the validation of the same credential took too long";
                    return Failure::new(Reason::ServerTimeout, what).into();
                }
            }
        }
    }

    /// Has a worker validate the credential.
    async fn validate(&self, login: &Arc<Login>, journal: &Journal, end: TokioInstant) -> Verdict {
        let pool = match login.credential.kind() {
            CredentialKind::Ticket => &self.tickets,
            CredentialKind::Token => &self.tokens,
        };
        let worker = match pool.acquire(&login.name, end).await {
            Ok(worker) => worker,
            Err(busy) => return busy.into(),
        };
        let (login, journal) = (Arc::clone(login), journal.clone());
        let validated = spawn_blocking(move || {
            let left = end.into_std().saturating_duration_since(Instant::now());
            let deadline = Deadline::new(left, &|| false);
            let attempt = Attempt {
                mechanism: MECHANISM,
                service: &login.service,
                client: login.client.as_deref(),
                claimed: Some(&login.name),
                deadline: &deadline,
                log: &journal,
                observer: CheckObserver::NONE,
            };
            let verdict = login
                .office
                .authenticator
                .authenticate(&login.credential, &attempt);
            drop(worker);
            verdict
        });
        validated.await.unwrap_or_else(|_| {
            // The log has the place of the panic already.
            Failure::new(Reason::InternalError, "the validation panicked").into()
        })
    }
}

/// The verdict of a leader for another login with the same session key; `None` if that
/// login is to be validated for itself.
fn adopt(login: &Login, landing: &Landing, log: &dyn Log) -> Option<Verdict> {
    let kind = login.credential.kind();
    match &landing.result {
        // The session may have been flushed since the leader began.
        Ok(_) if kind == CredentialKind::Ticket => return login.known(log),
        Ok(_) => {}
        // These concern the leader's name, or its place in the queue.
        Err(failure) => match failure.reason() {
            Reason::Busy => return None,
            Reason::BudgetSpent if landing.name != login.name => return None,
            _ => {}
        },
    }
    Some(Verdict::shared(kind, landing.key, landing.result.clone()))
}

impl Landing {
    fn new(login: &Login, verdict: &Verdict) -> Self {
        Self {
            name: login.name.clone(),
            result: verdict.result.clone(),
            key: verdict.key,
        }
    }
}
