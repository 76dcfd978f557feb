//! The result of a login, and what remains to be written to the session cache.

#![forbid(unsafe_code)]

use crate::credential::CredentialKind;
use crate::error::{Failure, FailureKind};
use crate::policy::host_names::HostNamePolicy;
use crate::policy::user_mapping::SessionUser;
use crate::session_cache::{self, CachedResult, Key, SessionOrigin, Validity};

/// Where the result of a login comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A session or a negative entry in a tier of the session cache.
    CacheHit(session_cache::Source),
    /// A validation for this login.
    Validated,
}

impl Source {
    /// The stable word for the source in the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::CacheHit(session_cache::Source::Memory) => "memory",
            Self::CacheHit(session_cache::Source::Host) => "host",
            Self::Validated => "validated",
        }
    }
}

/// The result of a login.
#[derive(Debug)]
pub struct Verdict {
    /// The user whom the credential authenticates, or why authentication failed.
    pub result: Result<SessionUser, Failure>,
    /// Where the result comes from; `None` for an outage.
    pub source: Option<Source>,
    /// The cache key, whose first digits identify the credential in the log.
    pub key: Option<Key>,
    /// The kind of the credential.
    pub kind: Option<CredentialKind>,
    /// The cache write to perform after the client has its answer.
    pub deferred_write: Option<DeferredWrite>,
}

/// A write to the session cache that no client has to wait for. See
/// [`Authenticator::write`](super::Authenticator::write).
#[derive(Debug)]
pub enum DeferredWrite {
    /// Stores the session of a token.
    Session {
        /// The cache key of the token.
        key: Key,
        /// The user whom the token authenticates.
        user: SessionUser,
        /// How long the validation is valid.
        validity: Validity,
        /// The origin that was recorded before the validation.
        origin: SessionOrigin,
    },
    /// Stores the name that the host gave the user at this login.
    HostName {
        /// The kind of the session's credential.
        kind: CredentialKind,
        /// The cache key of the session.
        key: Key,
        /// The name; `None` if it is the mail user's own.
        host_name: Option<String>,
    },
    /// Stores the time of this use of a session.
    Use {
        /// The kind of the session's credential.
        kind: CredentialKind,
        /// The cache key of the session.
        key: Key,
    },
}

impl Verdict {
    /// Records the name that the host gave the user, to be written if the session has another
    /// one. A name that equals the mail user is not stored.
    pub fn set_host_name(&mut self, host_name: &str) {
        let (Ok(user), Some(key), Some(kind)) = (&self.result, self.key, self.kind) else {
            return;
        };
        let is_same = HostNamePolicy::Same.accepts(&user.mail_user, host_name);
        let host_name = (!is_same).then_some(host_name);
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

    /// The verdict of a cache hit.
    pub(crate) fn cached(key: Key, (result, source): CachedResult) -> Self {
        Self {
            source: Some(Source::CacheHit(source)),
            key: Some(key),
            ..Self::from(result)
        }
    }

    /// The verdict that another login of this process reached with the same `key` while this one
    /// waited (single flight).
    pub fn shared(
        kind: CredentialKind,
        key: Option<Key>,
        result: Result<SessionUser, Failure>,
    ) -> Self {
        let source = Source::CacheHit(session_cache::Source::Memory);
        Self {
            source: is_decided(&result).then_some(source),
            key,
            kind: Some(kind),
            ..Self::from(result)
        }
    }

    /// The verdict of a validation for this login.
    pub(crate) fn validated(key: Key, result: Result<SessionUser, Failure>) -> Self {
        Self {
            source: is_decided(&result).then_some(Source::Validated),
            key: Some(key),
            ..Self::from(result)
        }
    }
}

/// A result without a source and without a key.
impl From<Result<SessionUser, Failure>> for Verdict {
    fn from(result: Result<SessionUser, Failure>) -> Self {
        Self {
            result,
            source: None,
            key: None,
            kind: None,
            deferred_write: None,
        }
    }
}

/// A login that failed before its credential was examined.
impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        Self::from(Err(failure))
    }
}

/// Whether a result says something about the credential. An outage does not.
fn is_decided(result: &Result<SessionUser, Failure>) -> bool {
    let kind = result.as_ref().map_err(Failure::kind);
    !matches!(kind, Err(FailureKind::Unavailable | FailureKind::Internal))
}
