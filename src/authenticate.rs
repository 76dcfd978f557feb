//! The one path of a login: credential, session, validator, session, principal.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use crate::cas::Cas;
use crate::clock::Clock;
use crate::config::{CasConfig, Config};
use crate::credential::Ticket;
use crate::deadline::Deadline;
use crate::identity::Mapping;
use crate::log::Log;
use crate::outcome::{Failure, Kind, Reason};
use crate::principal::Principal;
use crate::session::{self, Access, Key, Lifetimes, Sessions};

/// How long a login waits before it looks again whether another one has
/// validated the same credential: short beside any answer of an SSO server.
const PAUSE: Duration = Duration::from_millis(4);

/// What decided on a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A session, or a refusal that is remembered.
    Known(session::Source),
    /// The SSO server, asked just now.
    Validated,
}

impl Source {
    /// The stable word for it in the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Known(session::Source::Memory) => "memory",
            Self::Known(session::Source::Host) => "host",
            Self::Validated => "validated",
        }
    }
}

/// The answer to a credential.
#[derive(Debug)]
pub struct Verdict {
    /// Whom it speaks for, or why it was not taken.
    pub result: Result<Principal, Failure>,
    /// What decided, if anything did: an outage comes from nowhere.
    pub source: Option<Source>,
    /// The digest by which the credential goes in the log.
    pub key: Option<Key>,
}

/// A configuration at work: what all logins of a process share.
pub struct Engine {
    cas: Option<CasSide>,
    sessions: Sessions,
    mapping: Mapping,
}

struct CasSide {
    validator: Cas,
    policy: [u8; 32],
    lifetimes: Lifetimes,
}

impl Engine {
    /// Opens nothing: that is for the first credential to bring about.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            cas: config.cas.map(|config| CasSide {
                policy: session::digest(&config.policy()),
                lifetimes: Lifetimes {
                    absolute: config.session_ttl,
                    idle: config.session_idle,
                },
                validator: Cas::new(config),
            }),
            sessions: Sessions::new(config.sessions, clock),
            mapping: config.mapping,
        }
    }

    /// The configuration of CAS, if there is one.
    pub fn cas(&self) -> Option<&CasConfig> {
        self.cas.as_ref().map(|side| side.validator.config())
    }

    /// From principals to mail users.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Decides on a ticket for `service`.
    pub fn ticket(
        &self,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Verdict {
        let refused = |failure| Verdict {
            result: Err(failure),
            source: None,
            key: None,
        };
        let Some(side) = &self.cas else {
            return refused(Failure::new(Reason::InternalError, "CAS is not configured"));
        };
        let sessions = match self.sessions.open(log) {
            Ok(sessions) => sessions,
            Err(failure) => return refused(failure),
        };
        let key = sessions.key("cas", service, &side.policy, ticket.expose());
        let (result, source) = side.decide(&sessions, &key, ticket, service, deadline);
        Verdict {
            result,
            source,
            key: Some(key),
        }
    }
}

impl CasSide {
    fn decide(
        &self,
        sessions: &Access<'_>,
        key: &Key,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> (Result<Principal, Failure>, Option<Source>) {
        let claim = loop {
            if let Some(known) = self.known(sessions, key) {
                return known;
            }
            if let Some(claim) = sessions.claim(key) {
                break claim;
            }
            if let Err(failure) = deadline.nap(PAUSE) {
                return (Err(failure), None);
            }
        };
        // Whoever had the claim before may have had the answer.
        if let Some(known) = self.known(sessions, key) {
            return known;
        }
        let result = self.validate(sessions, ticket, service, deadline);
        match &result {
            Ok(principal) => sessions.begin(key, principal),
            Err(failure) => sessions.refuse(key, failure),
        }
        drop(claim);
        let undecided =
            |failure: &Failure| matches!(failure.kind(), Kind::Unavailable | Kind::Internal);
        let source = match &result {
            Err(failure) if undecided(failure) => None,
            _ => Some(Source::Validated),
        };
        (result, source)
    }

    fn known(
        &self,
        sessions: &Access<'_>,
        key: &Key,
    ) -> Option<(Result<Principal, Failure>, Option<Source>)> {
        if let Some((principal, source)) = sessions.find(key, &self.lifetimes) {
            return Some((Ok(principal), Some(Source::Known(source))));
        }
        let (failure, source) = sessions.refusal(key)?;
        Some((Err(failure), Some(Source::Known(source))))
    }

    fn validate(
        &self,
        sessions: &Access<'_>,
        ticket: &Ticket,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> Result<Principal, Failure> {
        let CasConfig { urls, timeout, .. } = self.validator.config();
        let left = deadline.remaining()?;
        if left < *timeout / 10 {
            let what = "too little time is left to ask; the ticket is not put at risk";
            return Err(Failure::new(Reason::ServerTimeout, what));
        }
        let breaker = sessions.breaker(&format!("{urls:?} {timeout:?}"));
        sessions.may_ask(&breaker)?;
        let result = self.validator.validate(ticket, service, deadline);
        match result.as_ref().map_err(Failure::reason) {
            // A server that had little time, because others had taken it, is
            // not to blame.
            Err(Reason::ServerTimeout) if left < *timeout / 2 => {}
            Err(Reason::ServerUnreachable | Reason::ServerTimeout) => {
                sessions.asked(&breaker, false);
            }
            // These say nothing about the server.
            Err(Reason::Interrupted | Reason::TrustUnusable | Reason::InternalError) => {}
            _ => sessions.asked(&breaker, true),
        }
        result
    }
}
