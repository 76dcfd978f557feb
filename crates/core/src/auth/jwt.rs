//! What decides on tokens: the keys of their issuers.

#![forbid(unsafe_code)]

use super::{Attempt, Unwritten, Verdict, map_user};
use crate::config::JwtConfig;
use crate::credential::{Kind, Token};
use crate::jwt::Jwt;
use crate::policy::user_mapping::UserPolicy;
use crate::protocol::Hint;
use crate::session_cache;
use crate::session_cache::{Access, Key, Lifetimes};

/// The issuers, and what is said of them.
pub(crate) struct JwtSide {
    pub(crate) validator: Jwt,
    pub(crate) policy: [u8; 32],
    pub(crate) hint: Hint,
}

/// A token's session is bounded by what its validation says, and by nothing
/// else.
pub(crate) const TOKEN_LIFETIMES: Lifetimes = Lifetimes::OF_BOUNDS;

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
        sessions: &Access<'_>,
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
        let opening = sessions.opening(attempt.mechanism, attempt.service);
        let verify = || {
            self.validator
                .validate(token, sessions, deadline, log, witness)
        };
        let verified = sessions.timed(Kind::Token, verify);
        let mapped = verified.and_then(|(principal, bounds)| {
            let user = map_user(users, principal, witness)?;
            Ok((user, bounds))
        });
        match mapped {
            Ok((user, bounds)) => Verdict {
                // Where it is not known what was flushed before, no session is stored.
                unwritten: opening.ok().map(|opening| Unwritten::Session {
                    key,
                    user: user.clone(),
                    bounds,
                    opening,
                }),
                ..Verdict::found(key, Ok(user))
            },
            Err(failure) => {
                sessions.refuse(Kind::Token, &key, &failure);
                Verdict::found(key, Err(failure))
            }
        }
    }
}
