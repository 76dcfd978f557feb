//! Logins with a token.

#![forbid(unsafe_code)]

use super::authenticator::{Attempt, map_user};
use super::outcome::{DeferredWrite, Verdict};
use crate::config::JwtConfig;
use crate::credential::{CredentialKind, Token};
use crate::jwt::JwtValidator;
use crate::policy::user_mapping::UserPolicy;
use crate::protocol::Hint;
use crate::session_cache::{self, Key, Lifetimes, SessionCacheHandle};

/// The validator of tokens, and what belongs to all logins with a token.
pub(crate) struct JwtAuthenticator {
    pub(crate) validator: JwtValidator,
    /// The digest of the policy, which is a part of the cache key.
    pub(crate) policy: [u8; 32],
    pub(crate) hint: Hint,
}

/// The lifetimes of a token's session: only its validity limits it.
pub(crate) const TOKEN_LIFETIMES: Lifetimes = Lifetimes::UNLIMITED;

impl JwtAuthenticator {
    pub(crate) fn new(config: JwtConfig, users: &UserPolicy) -> Self {
        let policy = session_cache::digest(&format!("{} {:?}", config.policy(), users.mapping));
        let validator = JwtValidator::new(config);
        Self {
            policy,
            hint: validator.hint(),
            validator,
        }
    }

    /// Validates a token. There is no validation lock: unlike a ticket, a token may be validated
    /// any number of times.
    pub(crate) fn authenticate(
        &self,
        sessions: &SessionCacheHandle<'_>,
        key: Key,
        token: &Token,
        users: &UserPolicy,
        attempt: &Attempt<'_>,
    ) -> Verdict {
        let Attempt {
            deadline,
            log,
            observer,
            ..
        } = *attempt;
        let origin = sessions.origin(attempt.mechanism, attempt.service);
        let validate = || {
            self.validator
                .validate(token, sessions, deadline, log, observer)
        };
        let validated = sessions.timed(CredentialKind::Token, validate);
        let mapped = validated.and_then(|(principal, validity)| {
            let user = map_user(users, principal, observer)?;
            Ok((user, validity))
        });
        match mapped {
            Ok((user, validity)) => Verdict {
                // Without an origin, a flush during the validation would be missed: no session is
                // stored.
                deferred_write: origin.ok().map(|origin| DeferredWrite::Session {
                    key,
                    user: user.clone(),
                    validity,
                    origin,
                }),
                ..Verdict::validated(key, Ok(user))
            },
            Err(failure) => {
                sessions.insert_negative(CredentialKind::Token, &key, &failure);
                Verdict::validated(key, Err(failure))
            }
        }
    }
}
