//! Validates credentials after a cache miss, each once, with a fair share of the workers for each
//! name.
//!
//! # What one client can take from others
//!
//! The protocol contains the user, the service and the realm. Stock clients send no address. So all
//! resources are shared by the user name in the request:
//!
//! - Requests with equal cache keys use one worker together (`single_flight`).
//! - Tickets, whose workers wait for CAS, and tokens, whose workers compute, have separate workers
//!   (`worker_pool`).
//! - One name has at most 4 workers of a kind, its turn among the names in the queue, and 256
//!   waiting requests. The same holds for one credential, under any names.
//!
//! This remains: a client that sends many credentials under the name of a victim delays new
//! credentials of that name, and of no other. A client that does so under many names takes as many
//! shares: with 16 names it occupies all workers for tickets for as long as CAS takes to answer,
//! and a new request waits for the next free one; with 512 names it fills the queue. Cache hits and
//! ordinary passwords never wait for any of this.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::Instant as TokioInstant;

use super::log_writer::AsyncLogger;
use super::pending_limit::WaitingRequests;
use super::responder::{Login, MECHANISM};
use super::single_flight::{Flights, NoVerdict, Role, SharedVerdict};
use super::worker_pool::{Limits, Pool};
use sso_core::auth::{Attempt, Verdict};
use sso_core::credential::CredentialKind;
use sso_core::error::{Failure, Reason};
use sso_core::platform::deadline::Deadline;
use sso_core::platform::log::Log;
use sso_core::session_cache::{Key, Secret};
use sso_core::trace::CheckObserver;

/// The limits for tickets, whose workers wait for CAS up to `caspt_timeout`.
const TICKETS: Limits = Limits {
    workers: 64,
    workers_per_name: 4,
    queue: 512,
};

/// The limits for tokens, whose workers compute, unless an issuer's keys must be fetched.
const TOKENS: Limits = Limits {
    workers: 32,
    workers_per_name: 4,
    queue: 512,
};

/// The number of concurrent validations.
pub(crate) const MAX_WORKERS: usize = TICKETS.workers + TOKENS.workers;

/// The maximum number of waiting requests of one name, and of one credential: a sixteenth of all
/// connections.
const MAX_WAITING: usize = 256;

/// The validations in progress and those that wait.
pub(crate) struct Validations {
    tickets: Arc<Pool>,
    tokens: Arc<Pool>,
    waiting_by_name: WaitingRequests<Arc<str>>,
    waiting_by_key: WaitingRequests<Key>,
    flights: Flights,
    /// The secret for the keys of flights.
    secret: Secret,
}

impl Validations {
    /// Creates an empty list.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {
            tickets: Pool::new(TICKETS),
            tokens: Pool::new(TOKENS),
            waiting_by_name: WaitingRequests::new(MAX_WAITING),
            waiting_by_key: WaitingRequests::new(MAX_WAITING),
            flights: Flights::default(),
            secret: Secret::new(&Secret::random()?),
        })
    }

    /// The verdict on a credential after a cache miss.
    pub(crate) async fn verdict(&self, login: &Arc<Login>, logger: &AsyncLogger) -> Verdict {
        let authenticator = &login.service_state.authenticator;
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
                    let verdict = self.validate(login, logger, end).await;
                    leader.finish(SharedVerdict::new(login, &verdict));
                    return verdict;
                }
                Role::Follower(follower) => follower,
            };
            match follower.verdict(end).await {
                Ok(shared) => {
                    if let Some(verdict) = adopt(login, &shared, logger) {
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
    async fn validate(
        &self,
        login: &Arc<Login>,
        logger: &AsyncLogger,
        end: TokioInstant,
    ) -> Verdict {
        let pool = match login.credential.kind() {
            CredentialKind::Ticket => &self.tickets,
            CredentialKind::Token => &self.tokens,
        };
        let worker = match pool.acquire(&login.name, end).await {
            Ok(worker) => worker,
            Err(busy) => return busy.into(),
        };
        let (login, logger) = (Arc::clone(login), logger.clone());
        let validated = spawn_blocking(move || {
            let left = end.into_std().saturating_duration_since(Instant::now());
            let deadline = Deadline::new(left, &|| false);
            let attempt = Attempt {
                mechanism: MECHANISM,
                service: &login.service,
                client: login.client.as_deref(),
                claimed: Some(&login.name),
                deadline: &deadline,
                log: &logger,
                observer: CheckObserver::NONE,
            };
            let verdict = login
                .service_state
                .authenticator
                .authenticate(&login.credential, &attempt);
            drop(worker);
            verdict
        });
        validated.await.unwrap_or_else(|_| {
            // The location of the panic is in the log already.
            Failure::new(Reason::InternalError, "the validation panicked").into()
        })
    }
}

/// The verdict of a leader for another login with the same cache key; `None` if that login must be
/// validated for itself.
fn adopt(login: &Login, shared: &SharedVerdict, log: &dyn Log) -> Option<Verdict> {
    let kind = login.credential.kind();
    match &shared.result {
        // The session may have been flushed since the leader began.
        Ok(_) if kind == CredentialKind::Ticket => return login.try_lookup(log),
        Ok(_) => {}
        // These reasons concern the leader's name or its place in the queue.
        Err(failure) => match failure.reason() {
            Reason::Busy => return None,
            Reason::BudgetSpent if shared.name != login.name => return None,
            _ => {}
        },
    }
    Some(Verdict::shared(kind, shared.key, shared.result.clone()))
}

impl SharedVerdict {
    fn new(login: &Login, verdict: &Verdict) -> Self {
        Self {
            name: login.name.clone(),
            result: verdict.result.clone(),
            key: verdict.key,
        }
    }
}
