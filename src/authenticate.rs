//! The one path of a login: credential, session, validator, session, principal.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use crate::cas::Cas;
use crate::clock::Clock;
use crate::config::{CasConfig, Config};
use crate::credential::{Ticket, Token};
use crate::deadline::Deadline;
use crate::identity::Mapping;
use crate::jwt::Jwt;
use crate::log::Log;
use crate::outcome::{self, Failure, Reason};
use crate::principal::Principal;
use crate::session::{self, Access, Bounds, Key, Kind, Lifetimes, Sessions};
use crate::wire::Hint;

/// How long a login waits before it looks again whether another one has
/// validated the same credential: short beside any answer of an SSO server.
const PAUSE: Duration = Duration::from_millis(4);

/// What decided on a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A session, or a refusal that is remembered.
    Known(session::Source),
    /// The SSO server, asked just now, or its keys.
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
    /// The session that is still to be opened.
    pub unopened: Option<Unopened>,
}

/// A session that nobody need wait for: see [`Engine::open`].
#[derive(Debug)]
pub struct Unopened {
    key: Key,
    principal: Principal,
    bounds: Bounds,
}

/// A configuration at work: what all logins of a process share.
pub struct Engine {
    cas: Option<CasSide>,
    jwt: Option<JwtSide>,
    sessions: Sessions,
    mapping: Mapping,
}

struct CasSide {
    validator: Cas,
    policy: [u8; 32],
    lifetimes: Lifetimes,
}

struct JwtSide {
    validator: Jwt,
    policy: [u8; 32],
    timeout: Duration,
    hint: Hint,
}

/// A token's session is bounded by what its validation says, and by nothing
/// else.
const TOKEN_LIFETIMES: Lifetimes = Lifetimes {
    absolute: Duration::MAX,
    idle: Duration::MAX,
};

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
            jwt: config.jwt.map(|config| {
                let policy = session::digest(&config.policy());
                let validator = Jwt::new(config);
                JwtSide {
                    policy,
                    timeout: validator.timeout(),
                    hint: validator.hint(),
                    validator,
                }
            }),
            sessions: Sessions::new(config.sessions, clock),
            mapping: config.mapping,
        }
    }

    /// The configuration of CAS, if there is one.
    pub fn cas(&self) -> Option<&CasConfig> {
        self.cas.as_ref().map(|side| side.validator.config())
    }

    /// How long a token's validation may take, if tokens are configured.
    pub fn token_timeout(&self) -> Option<Duration> {
        self.jwt.as_ref().map(|side| side.timeout)
    }

    /// What a client whose token is refused is told.
    pub fn token_hint(&self) -> Option<&Hint> {
        self.jwt.as_ref().map(|side| &side.hint)
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
        let Some(side) = &self.cas else {
            return Verdict::none(Failure::new(Reason::InternalError, "CAS is not configured"));
        };
        let sessions = match self.sessions.open(log) {
            Ok(sessions) => sessions,
            Err(failure) => return Verdict::none(failure),
        };
        let key = sessions.key(Kind::Ticket, service, &side.policy, ticket.expose());
        let (result, source) = side.decide(&sessions, &key, ticket, service, deadline);
        Verdict {
            result,
            source,
            key: Some(key),
            unopened: None,
        }
    }

    /// Decides on a token. Its session is for the caller to [open](Engine::open)
    /// when nobody waits: to write it takes half as long as to verify the token,
    /// and who comes in between verifies it too.
    pub fn token(&self, token: &Token, deadline: &Deadline<'_>, log: &dyn Log) -> Verdict {
        let Some(side) = &self.jwt else {
            let what = "bearer tokens are not configured";
            return Verdict::none(Failure::new(Reason::InternalError, what));
        };
        let sessions = match self.sessions.open(log) {
            Ok(sessions) => sessions,
            Err(failure) => return Verdict::none(failure),
        };
        // Its audience says what a token is for, not the service that it is
        // presented to.
        let key = sessions.key(Kind::Token, "", &side.policy, token.expose());
        side.decide(&sessions, key, token, deadline, log)
    }

    /// Opens the session of a token, for all processes of the host.
    pub fn open(&self, session: &Unopened, log: &dyn Log) {
        let Ok(sessions) = self.sessions.open(log) else {
            return;
        };
        let Unopened {
            key,
            principal,
            bounds,
        } = session;
        // A token in its leeway has no session.
        if sessions.now() < bounds.holds && sessions.wall() < bounds.expires {
            sessions.begin(Kind::Token, key, principal, *bounds);
        }
    }
}

impl Verdict {
    /// A login that failed before there was anything to decide on.
    fn none(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            source: None,
            key: None,
            unopened: None,
        }
    }
}

/// What decided: nothing did if nobody could.
fn source_of<T>(result: &Result<T, Failure>) -> Option<Source> {
    match result.as_ref().map_err(Failure::kind) {
        Err(outcome::Kind::Unavailable | outcome::Kind::Internal) => None,
        _ => Some(Source::Validated),
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
            Ok(principal) => sessions.begin(Kind::Ticket, key, principal, Bounds::NONE),
            Err(failure) => sessions.refuse(key, failure),
        }
        drop(claim);
        let source = source_of(&result);
        (result, source)
    }

    fn known(
        &self,
        sessions: &Access<'_>,
        key: &Key,
    ) -> Option<(Result<Principal, Failure>, Option<Source>)> {
        if let Some((principal, source)) = sessions.find(Kind::Ticket, key, &self.lifetimes) {
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

impl JwtSide {
    /// Unlike a ticket, a token may be validated any number of times: logins at
    /// the same time need not wait for one another.
    fn decide(
        &self,
        sessions: &Access<'_>,
        key: Key,
        token: &Token,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Verdict {
        let verdict = |result, source| Verdict {
            result,
            source,
            key: Some(key),
            unopened: None,
        };
        if let Some((principal, source)) = sessions.find(Kind::Token, &key, &TOKEN_LIFETIMES) {
            return verdict(Ok(principal), Some(Source::Known(source)));
        }
        if let Some(failure) = sessions.own_refusal(&key) {
            let source = Source::Known(session::Source::Memory);
            return verdict(Err(failure), Some(source));
        }
        let result = self.validator.validate(token, sessions, deadline, log);
        let source = source_of(&result);
        match result {
            Ok((principal, bounds)) => Verdict {
                unopened: Some(Unopened {
                    key,
                    principal: principal.clone(),
                    bounds,
                }),
                ..verdict(Ok(principal), source)
            },
            Err(failure) => {
                sessions.refuse_here(&key, &failure);
                verdict(Err(failure), source)
            }
        }
    }
}
