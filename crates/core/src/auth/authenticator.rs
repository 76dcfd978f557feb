//! Decides about logins: from the session cache, or by a validation.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::cas::CasAuthenticator;
use super::jwt::{JwtAuthenticator, TOKEN_LIFETIMES};
use super::outcome::{DeferredWrite, Source, Verdict};
use crate::config::{CasConfig, Config};
use crate::credential::{Credential, CredentialKind};
use crate::error::{Failure, Reason};
use crate::metrics::Decider;
use crate::platform::clock::Clock;
use crate::platform::deadline::Deadline;
use crate::platform::log::Log;
use crate::policy::user_mapping::{SessionUser, UserPolicy};
use crate::principal::Principal;
use crate::protocol::Hint;
use crate::session_cache::{self, Key, Lifetimes, Secret, SessionCache, SessionCacheHandle};
use crate::trace::{Check, CheckObserver, Comparison, Step};

/// What all logins of a process share: a configuration, its validators, and the session cache.
pub struct Authenticator {
    cas: Option<CasAuthenticator>,
    jwt: Option<JwtAuthenticator>,
    sessions: Arc<SessionCache>,
    users: UserPolicy,
}

/// The circumstances of one login.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The SASL mechanism.
    pub mechanism: &'a str,
    /// The service that a ticket must be issued for: see [`Authenticator::service`].
    pub service: &'a str,
    /// The client's address in the host's notation, if the host reveals it.
    pub client: Option<&'a str>,
    /// The user name that the client has sent, if any.
    pub claimed: Option<&'a str>,
    /// When the login must end.
    pub deadline: &'a Deadline<'a>,
    /// The log for problems that the verdict does not show.
    pub log: &'a dyn Log,
    /// Observer notified of each check; none during a normal login.
    pub observer: CheckObserver<'a>,
}

/// The result of a cache look-up, with what a validation needs after a cache miss.
struct LookedUp<'s> {
    sessions: SessionCacheHandle<'s>,
    /// The cache key, and the lifetimes of the kind of credential; `None` if that kind is not
    /// configured.
    key: Option<(Key, &'s Lifetimes)>,
    hit: Option<Verdict>,
}

impl Authenticator {
    /// Creates an authenticator. Nothing is opened before the first credential.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        let sessions = Arc::new(SessionCache::new(config.sessions.clone(), clock));
        Self::with_sessions(config, sessions)
    }

    /// Creates a read-only authenticator: it reads the shared session cache and never writes to
    /// it. New sessions stay in its own memory.
    pub fn read_only(config: Config, clock: Arc<dyn Clock>) -> Self {
        let sessions = Arc::new(SessionCache::read_only(config.sessions.clone(), clock));
        Self::with_sessions(config, sessions)
    }

    /// Whether [`Authenticator::reconfigured`] applies all of `config`.
    pub fn can_become(&self, config: &Config) -> bool {
        config.sessions == *self.sessions.config()
    }

    /// Creates an authenticator with another configuration and the same session cache. The
    /// location and size of the cache stay, because a process opens it only once.
    pub fn reconfigured(&self, config: Config) -> Self {
        Self::with_sessions(config, Arc::clone(&self.sessions))
    }

    fn with_sessions(config: Config, sessions: Arc<SessionCache>) -> Self {
        Self {
            cas: config
                .cas
                .map(|cas| CasAuthenticator::new(cas, &config.users)),
            jwt: config
                .jwt
                .map(|jwt| JwtAuthenticator::new(jwt, &config.users)),
            sessions,
            users: config.users,
        }
    }

    /// The configuration of CAS, if there is one.
    pub fn cas(&self) -> Option<&CasConfig> {
        self.cas.as_ref().map(|cas| cas.validator.config())
    }

    /// What a client whose token was refused may learn, if tokens are configured.
    pub fn token_hint(&self) -> Option<&Hint> {
        self.jwt.as_ref().map(|jwt| &jwt.hint)
    }

    /// The mapping of principals to mail users.
    pub fn users(&self) -> &UserPolicy {
        &self.users
    }

    /// The maximum duration of a validation of a credential of `kind`, or `None` if that kind is
    /// not configured.
    pub fn timeout(&self, kind: CredentialKind) -> Option<Duration> {
        match kind {
            CredentialKind::Ticket => self.cas().map(|config| config.timeout),
            CredentialKind::Token => self.jwt.as_ref().map(|jwt| jwt.validator.timeout()),
        }
    }

    /// The name of the service that a credential of `kind` is presented to. A ticket must be
    /// issued for it. `service` and `host` are the host application's names.
    pub fn service(&self, kind: CredentialKind, service: &str, host: &str) -> String {
        match (kind, self.cas()) {
            (CredentialKind::Ticket, Some(config)) => config.service.name(service, host),
            _ => [service, "://", host].concat(),
        }
    }

    /// The kind of credential in the place of a password, if that kind is configured. `None` means
    /// an ordinary password.
    pub fn kind_of_password(&self, password: &[u8]) -> Option<CredentialKind> {
        CredentialKind::of_password(password).filter(|kind| self.timeout(*kind).is_some())
    }

    /// Looks a credential up without waiting and without writing. The caller has the verdict's
    /// deferred write [performed](Authenticator::write) later. Returns `None` after a cache miss,
    /// and if the session cache cannot be read at once.
    pub fn try_lookup(
        &self,
        credential: &Credential,
        service: &str,
        log: &dyn Log,
    ) -> Option<Verdict> {
        let sessions = self.sessions.opened(log)?;
        let (key, lifetimes) = self.key(&sessions, credential, service)?;
        let kind = credential.kind();
        let (hit, is_stale) = sessions.try_lookup(kind, &key, lifetimes).ok()??;
        Some(Verdict {
            deferred_write: is_stale.then_some(DeferredWrite::Use { kind, key }),
            kind: Some(kind),
            ..Verdict::cached(key, hit)
        })
    }

    /// Authenticates a credential. The caller has the verdict's deferred write
    /// [performed](Authenticator::write) after the client has its answer: storing the session of
    /// a token takes half as long as verifying the token, and until then other logins verify it
    /// themselves.
    pub fn authenticate(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        let mut verdict = self.lookup_or_validate(credential, attempt);
        let is_unreadable = |failure: &Failure| failure.reason() == Reason::SessionsUnreadable;
        // The session cache was removed or damaged during this login, and the next attempt opens
        // a new one, which may contain the credential. CAS has not been asked yet.
        if verdict.result.as_ref().is_err_and(is_unreadable) && self.sessions.is_outdated() {
            verdict = self.lookup_or_validate(credential, attempt);
        }
        Verdict {
            kind: Some(credential.kind()),
            ..verdict
        }
    }

    fn lookup_or_validate(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        match self.look_up(credential, attempt) {
            Ok(LookedUp { hit: Some(hit), .. }) => hit,
            Ok(LookedUp { sessions, key, .. }) => {
                self.validate(&sessions, key, credential, attempt)
            }
            Err(failure) => self.validate_without_host(failure, credential, attempt),
        }
    }

    /// Looks a credential up in the session cache.
    fn look_up<'s>(
        &'s self,
        credential: &Credential,
        attempt: &Attempt<'s>,
    ) -> Result<LookedUp<'s>, Failure> {
        let sessions = self.sessions.open(attempt.log)?;
        let key = self.key(&sessions, credential, attempt.service);
        let hit = match key {
            Some((key, lifetimes)) => sessions
                .lookup(credential.kind(), &key, lifetimes)?
                .map(|hit| Verdict::cached(key, hit)),
            None => None,
        };
        Ok(LookedUp { sessions, key, hit })
    }

    /// Looks a credential up as [`Authenticator::authenticate`] does, without validating it.
    /// Returns the verdict after a cache hit, and whether the host tier was read.
    ///
    /// # Errors
    /// [`Reason::InternalError`], and [`Reason::SessionsUnreadable`] if a login would end with
    /// that.
    pub fn peek(
        &self,
        credential: &Credential,
        attempt: &Attempt<'_>,
    ) -> Result<(Option<Verdict>, bool), Failure> {
        match (self.look_up(credential, attempt), credential.kind()) {
            (Ok(LookedUp { sessions, hit, .. }), _) => Ok((hit, sessions.has_host())),
            (Err(failure), CredentialKind::Token)
                if failure.reason() == Reason::SessionsUnreadable =>
            {
                Ok((None, false))
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// Validates a credential as if the session cache did not contain it.
    pub fn validate_uncached(&self, credential: &Credential, attempt: &Attempt<'_>) -> Verdict {
        match self.sessions.open(attempt.log) {
            Ok(sessions) => {
                let key = self.key(&sessions, credential, attempt.service);
                self.validate(&sessions, key, credential, attempt)
            }
            Err(failure) => self.validate_without_host(failure, credential, attempt),
        }
    }

    /// Validates a credential while the host tier cannot be read because of `failure`. A token can
    /// be verified any number of times. A ticket may have been validated by another process, and
    /// CAS would refuse it then: the login ends with the outage.
    fn validate_without_host(
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
                    // The key is not the key of the host tier.
                    deferred_write: None,
                    ..self.validate(&sessions, key, credential, attempt)
                }
            }
            Err(failure) => Verdict::from(failure),
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
            (Some((key, _)), Credential::Ticket(ticket), Some(cas), _) => {
                cas.authenticate(sessions, key, ticket, &self.users, attempt)
            }
            (Some((key, _)), Credential::Token(token), _, Some(jwt)) => {
                jwt.authenticate(sessions, key, token, &self.users, attempt)
            }
            _ => {
                let what = "credentials of this kind are not configured";
                Verdict::from(Failure::new(Reason::InternalError, what))
            }
        }
    }

    /// The cache key of a credential and the lifetimes of its kind, or `None` if that kind is not
    /// configured.
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

    /// The service and the policy digest that the cache key of a credential of `kind` contains, or
    /// `None` if that kind is not configured.
    fn scope<'s>(
        &'s self,
        kind: CredentialKind,
        service: &'s str,
    ) -> Option<(&'s str, &'s [u8; 32])> {
        Some(match kind {
            CredentialKind::Ticket => (service, &self.cas.as_ref()?.policy),
            // The audience of a token says what it is for. The service is irrelevant.
            CredentialKind::Token => ("", &self.jwt.as_ref()?.policy),
        })
    }

    fn lifetimes(&self, kind: CredentialKind) -> Option<&Lifetimes> {
        match kind {
            CredentialKind::Ticket => self.cas.as_ref().map(|side| &side.lifetimes),
            CredentialKind::Token => self.jwt.as_ref().map(|_| &TOKEN_LIFETIMES),
        }
    }

    /// Counts a login in the metrics, with its final result.
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

    /// Performs a deferred write.
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
                // A token that was accepted only because of the leeway has no session.
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

/// Maps a validated principal to its mail user. Only a failure is reported to the observer: the
/// caller reports success together with the host's name.
pub(super) fn map_user(
    users: &UserPolicy,
    principal: Principal,
    observer: CheckObserver<'_>,
) -> Result<SessionUser, Failure> {
    users.session_user(principal).or_else(|failure| {
        observer.observe(Check::new(Step::MailUser, Err(failure), || {
            Comparison::actual("").expected(users.mapping.to_string())
        }))
    })
}
