//! What decides on tokens: the keys of their issuers.

#![forbid(unsafe_code)]

use super::{Attempt, DeferredWrite, Verdict, map_user};
use crate::config::JwtConfig;
use crate::credential::{CredentialKind, Token};
use crate::jwt::Jwt;
use crate::policy::user_mapping::UserPolicy;
use crate::protocol::Hint;
use crate::session_cache;
use crate::session_cache::{Key, Lifetimes, SessionCacheHandle};

/// The issuers, and what is said of them.
pub(crate) struct JwtSide {
    pub(crate) validator: Jwt,
    pub(crate) policy: [u8; 32],
    pub(crate) hint: Hint,
}

/// A token's session is bounded by what its validation says, and by nothing
/// else.
pub(crate) const TOKEN_LIFETIMES: Lifetimes = Lifetimes::UNLIMITED;

impl JwtSide {
    pub(crate) fn new(config: JwtConfig, users: &UserPolicy) -> Self {
        let policy = session_cache::digest(&format!("{} {:?}", config.policy(), users.mapping));
        let validator = Jwt::new(config);
        Self {
            policy,
            hint: validator.hint(),
            validator,
        }
    }

    /// Unlike a ticket, a token may be validated any number of times: logins at
    /// the same time need not wait for one another.
    pub(crate) fn decide(
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
            witness,
            ..
        } = *attempt;
        let origin = sessions.origin(attempt.mechanism, attempt.service);
        let verify = || {
            self.validator
                .validate(token, sessions, deadline, log, witness)
        };
        let verified = sessions.timed(CredentialKind::Token, verify);
        let mapped = verified.and_then(|(principal, validity)| {
            let user = map_user(users, principal, witness)?;
            Ok((user, validity))
        });
        match mapped {
            Ok((user, validity)) => Verdict {
                // Where it is not known what was flushed before, no session is stored.
                deferred_write: origin.ok().map(|origin| DeferredWrite::Session {
                    key,
                    user: user.clone(),
                    validity,
                    origin,
                }),
                ..Verdict::found(key, Ok(user))
            },
            Err(failure) => {
                sessions.insert_negative(CredentialKind::Token, &key, &failure);
                Verdict::found(key, Err(failure))
            }
        }
    }
}
