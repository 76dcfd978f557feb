//! The one path of a login: credential, session, validator, session, principal.

#![forbid(unsafe_code)]

mod cas;
mod jwt;
pub mod login_event;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{CasConfig, Config};
use crate::credential::{Credential, CredentialKind};
use crate::error;
use crate::error::{Failure, Reason};
use crate::metrics::Decider;
use crate::platform::clock::Clock;
use crate::platform::deadline::Deadline;
use crate::platform::log::Log;
use crate::policy::host_names::HostNamePolicy;
use crate::policy::user_mapping::{SessionUser, UserPolicy};
use crate::principal::Principal;
use crate::protocol::Hint;
use crate::session_cache;
use crate::session_cache::{
    CachedResult, Key, Lifetimes, Secret, SessionCache, SessionCacheHandle, SessionOrigin, Validity,
};
use crate::trace::{Step, Told, Witness};
use cas::CasSide;
use jwt::{JwtSide, TOKEN_LIFETIMES};

/// What decided on a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A session, or a refusal that is remembered.
    CacheHit(session_cache::Source),
    /// The SSO server, asked just now, or its keys.
    Validated,
}

impl Source {
    /// The stable word for it in the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::CacheHit(session_cache::Source::Memory) => "memory",
            Self::CacheHit(session_cache::Source::Host) => "host",
            Self::Validated => "validated",
        }
    }
}

/// The answer to a credential.
#[derive(Debug)]
pub struct Verdict {
    /// The user whom the credential authenticates, or why authentication failed.
    pub result: Result<SessionUser, Failure>,
    /// What decided, if anything did: an outage comes from nowhere.
    pub source: Option<Source>,
    /// The digest by which the credential goes in the log.
    pub key: Option<Key>,
    /// Of what kind the credential is.
    pub kind: Option<CredentialKind>,
    /// What is still to be written.
    pub deferred_write: Option<DeferredWrite>,
}

/// What nobody need wait for: see [`Authenticator::write`].
#[derive(Debug)]
pub enum DeferredWrite {
    /// The session of a token.
    Session {
        /// The token's.
        key: Key,
        /// The user whom it authenticates.
        user: SessionUser,
        /// Until when.
        validity: Validity,
        /// As it was before the token was verified.
        origin: SessionOrigin,
    },
    /// The name that the host gave the user of a session at this login.
    HostName {
        /// The kind of the session's credential.
        kind: CredentialKind,
        /// The session's key.
        key: Key,
        /// The name, unless it is the usual one.
        host_name: Option<String>,
    },
    /// That a session is used.
    Use {
        /// Of what kind its credential is.
        kind: CredentialKind,
        /// Its credential's.
        key: Key,
    },
}

/// A configuration at work: what all logins of a process share.
pub struct Authenticator {
    cas: Option<CasSide>,
    jwt: Option<JwtSide>,
    sessions: Arc<SessionCache>,
    users: UserPolicy,
}

/// How a credential comes.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The SASL mechanism.
    pub mechanism: &'a str,
    /// The service that a ticket must be for: see [`Authenticator::service`].
    pub service: &'a str,
    /// The client's address, as the host writes it, if the host tells it.
    pub client: Option<&'a str>,
    /// Who the client says it is, if it says so.
    pub claimed: Option<&'a str>,
    /// Until when the answer is wanted.
    pub deadline: &'a Deadline<'a>,
    /// Where troubles are told.
    pub log: &'a dyn Log,
    /// Who looks on.
    pub witness: Witness<'a>,
}

impl Authenticator {
    /// Opens nothing: that is for the first credential to bring about.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let sessions = Arc::new(SessionCache::new(config.sessions.clone(), clock));
        Self::with_sessions(config, sessions)
    }

    /// One that changes nothing on the host: what is known there is read, and what
    /// it finds out stays in its own memory.
    pub fn read_only(config: Config, clock: Arc<dyn Clock>) -> Self {
        let sessions = Arc::new(SessionCache::read_only(config.sessions.clone(), clock));
        Self::with_sessions(config, sessions)
    }

    /// Whether [`Authenticator::reconfigured`] will do all that `config` says.
    pub fn can_become(&self, config: &Config) -> bool {
        config.sessions == *self.sessions.config()
    }

    /// Another configuration with the same sessions, which stay where they are
    /// and as many as they are: a store is opened once in a process.
    pub fn reconfigured(&self, config: Config) -> Self {
        Self::with_sessions(config, Arc::clone(&self.sessions))
    }

    fn with_sessions(config: Config, sessions: Arc<SessionCache>) -> Self {
        Self {
            cas: config.cas.map(|cas| CasSide::new(cas, &config.users)),
            jwt: config.jwt.map(|jwt| JwtSide::new(jwt, &config.users)),
            sessions,
            users: config.users,
        }
    }

    /// The configuration of CAS, if there is one.
    pub fn cas(&self) -> Option<&CasConfig> {
        self.cas.as_ref().map(|side| side.validator.config())
    }

    /// What a client whose token is refused is told, if tokens are configured.
    pub fn token_hint(&self) -> Option<&Hint> {
        self.jwt.as_ref().map(|side| &side.hint)
    }

    /// Which mail users principals become.
    pub fn users(&self) -> &UserPolicy {
        &self.users
    }

    /// How long the validation of a credential of `kind` may take, or `None` if
    /// that kind is not configured.
    pub fn timeout(&self, kind: CredentialKind) -> Option<Duration> {
        match kind {
            CredentialKind::Ticket => self.cas().map(|config| config.timeout),
            CredentialKind::Token => self.jwt.as_ref().map(|side| side.validator.timeout()),
        }
    }

    /// What a credential of `kind` is presented to at `service` of `host`, as the
    /// host application calls both: with a ticket, what it must be issued for.
    pub fn service(&self, kind: CredentialKind, service: &str, host: &str) -> String {
        match (kind, self.cas()) {
            (CredentialKind::Ticket, Some(config)) => config.service.name(service, host),
            _ => [service, "://", host].concat(),
        }
    }

    /// The kind of credential that is meant where a password would be, of those
    /// that are configured. `None` is an ordinary password, and nothing of ours.
    pub fn kind_of_password(&self, password: &[u8]) -> Option<CredentialKind> {
        CredentialKind::of_password(password).filter(|kind| self.timeout(*kind).is_some())
    }

    /// The answer to a credential that is known, without waiting and without
    /// writing: that is for the caller to [have done](Engine::write) later.
    pub fn known(&self, credential: &Credential, service: &str, log: &dyn Log) -> Option<Verdict> {
        let sessions = self.sessions.opened(log)?;
        let (key, lifetimes) = self.key(&sessions, credential, service)?;
        let kind = credential.kind();
        // What cannot be read is for who may wait for it.
        let known = sessions.try_lookup(kind, &key, lifetimes).ok()?;
        let (known, is_stale) = known?;
        Some(Verdict {
            deferred_write: is_stale.then_some(DeferredWrite::Use { kind, key }),
            kind: Some(kind),
            ..Verdict::known(key, known)
        })
    }

    /// Decides on a credential. The session of a token is for the caller to have
    /// [written](Engine::write) when nobody waits: that takes half as long as to
    /// verify the token, and who comes in between verifies it too.
    pub fn decide(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        Verdict {
            kind: Some(credential.kind()),
            ..self.judge(credential, attempt)
        }
    }

    fn judge(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        let verdict = self.judge_once(credential, attempt);
        let unreadable = Some(Reason::SessionsUnreadable);
        let reason = verdict.result.as_ref().err().map(Failure::reason);
        // A store that turned out to be removed or damaged is another one from now on, in
        // which the credential may be known. CAS was not asked before that.
        match reason == unreadable && self.sessions.is_outdated() {
            true => self.judge_once(credential, attempt),
            false => verdict,
        }
    }

    fn judge_once(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        match self.look_up(credential, attempt) {
            Ok((.., Some(known))) => known,
            Ok((sessions, key, None)) => self.validate(&sessions, key, credential, attempt),
            Err(failure) => self.decide_without_host(failure, credential, attempt),
        }
    }

    /// The sessions, the credential's key in them, and what is known of it.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn look_up<'s>(
        &'s self,
        credential: &Credential,
        attempt: &Attempt<'s>,
    ) -> Result<
        (
            SessionCacheHandle<'s>,
            Option<(Key, &'s Lifetimes)>,
            Option<Verdict>,
        ),
        Failure,
    > {
        let sessions = self.sessions.open(attempt.log)?;
        let key = self.key(&sessions, credential, attempt.service);
        let known = match key {
            Some((key, lifetimes)) => sessions
                .known(credential.kind(), &key, lifetimes)?
                .map(|known| Verdict::known(key, known)),
            None => None,
        };
        Ok((sessions, key, known))
    }

    /// Decides on a credential while the host's sessions cannot be read, for which
    /// `failure` is the reason. A token can be verified any number of times. A ticket that
    /// another process knows would be refused by CAS: that is an outage.
    fn decide_without_host(
        &self,
        failure: Failure,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        let is_unreadable = failure.reason() == Reason::SessionsUnreadable;
        if credential.kind() == CredentialKind::Ticket || !is_unreadable {
            return Verdict::from(failure);
        }
        match self.sessions.open_without_host(attempt.log) {
            Ok(sessions) => {
                let key = self.key(&sessions, credential, attempt.service);
                Verdict {
                    // The host's sessions have other keys.
                    deferred_write: None,
                    ..self.validate(&sessions, key, credential, attempt)
                }
            }
            Err(failure) => Verdict::from(failure),
        }
    }

    /// What is known of a credential, which is neither spent nor asked about by
    /// that; and whether the host's processes were asked what they know.
    ///
    /// # Errors
    /// [`Reason::InternalError`], or [`Reason::SessionsUnreadable`] if that is what a
    /// login would come to.
    pub fn peek(
        &self,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Result<(Option<Verdict>, bool), Failure> {
        match (self.look_up(credential, attempt), credential.kind()) {
            (Ok((sessions, _, known)), _) => Ok((known, sessions.has_host())),
            (Err(failure), CredentialKind::Token)
                if failure.reason() == Reason::SessionsUnreadable =>
            {
                Ok((None, false))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// Decides on a credential as if nothing were known of it.
    pub fn validate_uncached(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        match self.sessions.open(attempt.log) {
            Ok(sessions) => {
                let key = self.key(&sessions, credential, attempt.service);
                self.validate(&sessions, key, credential, attempt)
            }
            Err(failure) => self.decide_without_host(failure, credential, attempt),
        }
    }

    fn validate(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Option<(Key, &Lifetimes)>,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        match (key, credential, &self.cas, &self.jwt) {
            (Some((key, _)), Credential::Ticket(ticket), Some(side), _) => {
                side.decide(sessions, key, ticket, &self.users, attempt)
            }
            (Some((key, _)), Credential::Token(token), _, Some(side)) => {
                side.decide(sessions, key, token, &self.users, attempt)
            }
            _ => {
                let what = "credentials of this kind are not configured";
                Verdict::from(Failure::new(Reason::InternalError, what))
            }
        }
    }

    /// The key of a credential's session and the lifetimes of its kind, or `None`
    /// if that kind is not configured.
    fn key(
        &self,
        sessions: &SessionCacheHandle<'_>,
        credential: &Credential,
        service: &str,
    ) -> Option<(Key, &Lifetimes)> {
        let kind = credential.kind();
        let (service, policy) = self.scope(kind, service)?;
        let key = sessions.key(kind, service, policy, credential.expose());
        Some((key, self.lifetimes(kind)?))
    }

    /// The key of a credential as `Authenticator::key` makes it, but with `secret`: two
    /// credentials have the same one if their sessions are the same. The store need not be
    /// open.
    pub fn key_with(&self, secret: &Secret, credential: &Credential, service: &str) -> Option<Key> {
        let kind = credential.kind();
        let (service, policy) = self.scope(kind, service)?;
        let kind = match kind {
            CredentialKind::Ticket => &b"ticket"[..],
            CredentialKind::Token => b"token",
        };
        let credential = credential.expose().as_bytes();
        Some(secret.key(&[kind, service.as_bytes(), policy, credential]))
    }

    /// The service and the policy that the session of a credential of `kind` belongs to,
    /// or `None` if that kind is not configured.
    fn scope<'s>(
        &'s self,
        kind: CredentialKind,
        service: &'s str,
    ) -> Option<(&'s str, &'s [u8; 32])> {
        Some(match kind {
            CredentialKind::Ticket => (service, &self.cas.as_ref()?.policy),
            // Its audience says what a token is for, not the service that it is
            // presented to.
            CredentialKind::Token => ("", &self.jwt.as_ref()?.policy),
        })
    }

    fn lifetimes(&self, kind: CredentialKind) -> Option<&Lifetimes> {
        match kind {
            CredentialKind::Ticket => self.cas.as_ref().map(|side| &side.lifetimes),
            CredentialKind::Token => self.jwt.as_ref().map(|_| &TOKEN_LIFETIMES),
        }
    }

    /// Counts a login, once, with what it came to in the end.
    pub fn count(
        &self,
        kind: Option<CredentialKind>,
        source: Option<Source>,
        failure: Option<Reason>,
        log: &dyn Log,
    ) {
        let decider = match source {
            Some(Source::CacheHit(session_cache::Source::Memory)) => Decider::Memory,
            Some(Source::CacheHit(session_cache::Source::Host)) => Decider::Host,
            Some(Source::Validated) => Decider::Validation,
            None => Decider::Nobody,
        };
        self.sessions.count(kind, decider, failure, log);
    }

    /// Writes what nobody need wait for, for all processes of the host.
    pub fn write(&self, deferred_write: &DeferredWrite, log: &dyn Log) {
        let Ok(sessions) = self.sessions.open(log) else {
            return;
        };
        match deferred_write {
            DeferredWrite::Session {
                key,
                user,
                validity,
                origin,
            } => {
                // A token in its leeway has no session.
                if sessions.now() < validity.revalidate_at && sessions.wall() < validity.expires {
                    let lifetimes = &TOKEN_LIFETIMES;
                    sessions.insert_session(
                        CredentialKind::Token,
                        key,
                        user,
                        *validity,
                        lifetimes,
                        origin,
                    );
                }
            }
            DeferredWrite::HostName {
                kind,
                key,
                host_name,
            } => {
                if let Some(lifetimes) = self.lifetimes(*kind) {
                    sessions.set_host_name(*kind, key, host_name.as_deref(), lifetimes);
                }
            }
            DeferredWrite::Use { kind, key } => {
                if let Some(lifetimes) = self.lifetimes(*kind) {
                    sessions.record_use(*kind, key, lifetimes);
                }
            }
        }
    }
}

/// Maps a validated principal to its mail user. `witness` is told of a failure; of a
/// success, whoever computes the host's name tells.
fn map_user(
    users: &UserPolicy,
    principal: Principal,
    witness: Witness<'_>,
) -> Result<SessionUser, Failure> {
    users.session_user(principal).or_else(|failure| {
        let told = |_: Option<&_>| Told::found("").wanted(users.mapping.to_string());
        witness.see(Step::MailUser, told, Err(failure))
    })
}

impl Verdict {
    /// Notes the name that the host gave the user, for the session to be updated if it
    /// has another one. The usual name is not stored: it follows from the mail user.
    pub fn note_host_name(&mut self, host_name: &str) {
        let (Ok(user), Some(key), Some(kind)) = (&self.result, self.key, self.kind) else {
            return;
        };
        let is_usual = HostNamePolicy::Same.accepts(&user.mail_user, host_name);
        let host_name = (!is_usual).then_some(host_name);
        if user.host_name.as_deref() == host_name {
            return;
        }
        let host_name = host_name.map(str::to_owned);
        match &mut self.deferred_write {
            Some(DeferredWrite::Session { user, .. }) => user.host_name = host_name,
            _ => {
                self.deferred_write = Some(DeferredWrite::HostName {
                    kind,
                    key,
                    host_name,
                });
            }
        }
    }

    fn known(key: Key, (result, source): CachedResult) -> Self {
        Self {
            result,
            source: Some(Source::CacheHit(source)),
            key: Some(key),
            kind: None,
            deferred_write: None,
        }
    }

    /// What a login of the same process found out at the same time, for whom `key` is the
    /// same.
    pub fn shared(
        kind: CredentialKind,
        key: Option<Key>,
        result: Result<SessionUser, Failure>,
    ) -> Self {
        let source = match result.as_ref().map_err(Failure::kind) {
            Err(error::FailureKind::Unavailable | error::FailureKind::Internal) => None,
            _ => Some(Source::CacheHit(session_cache::Source::Memory)),
        };
        Self {
            result,
            source,
            key,
            kind: Some(kind),
            deferred_write: None,
        }
    }

    /// What was found out just now.
    fn found(key: Key, result: Result<SessionUser, Failure>) -> Self {
        let source = match result.as_ref().map_err(Failure::kind) {
            // Nothing decided if nobody could.
            Err(error::FailureKind::Unavailable | error::FailureKind::Internal) => None,
            _ => Some(Source::Validated),
        };
        Self {
            result,
            source,
            key: Some(key),
            kind: None,
            deferred_write: None,
        }
    }
}

/// A login that failed before there was anything to decide on.
impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            source: None,
            key: None,
            kind: None,
            deferred_write: None,
        }
    }
}
