//! Bearer tokens: a JWT (RFC 7519) is taken apart, held against its issuer's
//! keys, and then against its issuer's policy.
//!
//! The signature is aws-lc-rs' business. What is around it is done here and not
//! by a JWT library, because it is what this project is for: keys are bound to
//! an issuer and to algorithms, nothing is read that could be read in two ways,
//! every refusal has a reason, and time is injected.

#![forbid(unsafe_code)]

mod claims;
mod compact;
mod copy;
mod files;
mod inspect;
mod json;
mod judge;
mod jwks;
mod key;
mod key_set;
mod pem;
mod published;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::config::{Expected, IssuerConfig, JwtConfig, KeysAt};
use crate::credential::Token;
use crate::deadline::Deadline;
use crate::log::{Log, quoted};
use crate::outcome::{Failure, Reason};
use crate::principal::Principal;
use crate::session::{Access, Bounds};
use crate::wire::Hint;
use claims::Claims;
use compact::{Compact, Parts};
use files::Files;
pub use inspect::{KeyReport, SetReport, check_keys, inspect_published};
use key_set::KeySet;
use published::Published;

/// The validator of tokens.
pub struct Jwt {
    issuers: Vec<Issuer>,
}

struct Issuer {
    config: IssuerConfig,
    keys: Keys,
}

enum Keys {
    Files(Files),
    Published(Box<Published>),
}

impl Jwt {
    /// Nothing is opened or read until the first token comes.
    pub fn new(config: JwtConfig) -> Self {
        let issuers = config.issuers.into_iter().map(Issuer::new).collect();
        Self { issuers }
    }

    /// How long a validation may take, whoever issued the token: fetching keys is
    /// all that takes time.
    pub fn timeout(&self) -> Duration {
        let timeouts = self.issuers.iter().map(|issuer| issuer.config.timeout);
        timeouts.max().unwrap_or_default()
    }

    /// What a client that was refused is told about how to do better. With
    /// several issuers nobody knows which of them it should go to.
    pub fn hint(&self) -> Hint {
        let [issuer] = &self.issuers[..] else {
            return Hint::default();
        };
        let scopes: Vec<String> = issuer
            .config
            .require
            .conditions()
            .iter()
            .filter(|condition| judge::is_scope(condition))
            .filter_map(|condition| condition.values().first().cloned())
            .collect();
        Hint {
            scope: (!scopes.is_empty()).then(|| scopes.join(" ")),
            openid_configuration: match &issuer.config.keys {
                KeysAt::Discovery { document, .. } => Some(document.to_string()),
                KeysAt::Path(_) | KeysAt::Url(_) => None,
            },
        }
    }

    /// Validates a token: who it speaks for, and until when that holds.
    ///
    /// # Errors
    /// Why it is not good, not allowed, or could not be judged.
    pub fn validate(
        &self,
        token: &Token,
        sessions: &Access<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<(Principal, Bounds), Failure> {
        let parts = Parts::decode(token)?;
        let token = Compact::parse(&parts)?;
        let issuer = self.issuer(&token)?;
        judge::judge_header(&issuer.config, &token.header)?;
        let deadline = deadline.within(issuer.config.timeout);
        let holds = issuer.verify(&token, sessions, &deadline, log)?;
        let claims = Claims::new(token.claims);
        let (principal, expires) = judge::judge(&issuer.config, &claims, sessions.wall())?;
        Ok((principal, Bounds { holds, expires }))
    }

    /// The issuer that the token says it is of.
    fn issuer(&self, token: &Compact<'_>) -> Result<&Issuer, Failure> {
        let iss = match token.claims.get("iss") {
            None => None,
            Some(iss) => Some(
                iss.as_text()
                    .ok_or_else(|| Failure::new(Reason::ClaimsMalformed, "iss is not a text"))?,
            ),
        };
        let named = |issuer: &&Issuer| match &issuer.config.issuer {
            Expected::OneOf(values) => iss.is_some_and(|iss| values.iter().any(|v| v == iss)),
            Expected::Any => false,
        };
        let any = |issuer: &&Issuer| issuer.config.issuer == Expected::Any;
        let found = self.issuers.iter().find(named);
        found
            .or_else(|| self.issuers.iter().find(any))
            .ok_or_else(|| {
                let what = match iss {
                    Some(iss) => format!("iss is {}, which is not configured", quoted(iss)),
                    None => "the token has no iss".to_owned(),
                };
                Failure::new(Reason::IssuerNotAllowed, what)
            })
    }
}

impl Issuer {
    fn new(config: IssuerConfig) -> Self {
        let keys = match &config.keys {
            KeysAt::Path(path) => Keys::Files(Files::new(path.clone())),
            KeysAt::Url(_) | KeysAt::Discovery { .. } => {
                Keys::Published(Box::new(Published::new(&config)))
            }
        };
        Self { config, keys }
    }

    /// Verifies the signature, and says until when that holds without looking
    /// at the keys again.
    fn verify(
        &self,
        token: &Compact<'_>,
        sessions: &Access<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<Moment, Failure> {
        match &self.keys {
            Keys::Files(files) => {
                let now = sessions.now();
                let current = files.current(now, log)?;
                verify(&current, token, || {
                    let newest = files.newest(now, log)?;
                    Ok((!Arc::ptr_eq(&newest, &current)).then_some(newest))
                })?;
                Ok(now.plus(self.config.keys_refresh))
            }
            Keys::Published(keys) => {
                let current = keys.current(sessions, deadline, log)?;
                let mut holds = current.holds;
                verify(&current.set, token, || {
                    let newer = keys.newer(&current, sessions, deadline, log)?;
                    Ok(newer.map(|newer| {
                        holds = newer.holds;
                        newer.set
                    }))
                })?;
                Ok(holds)
            }
        }
    }
}

/// Verifies with a set of keys or, if it lacks the key, with a newer one.
fn verify<S: AsRef<KeySet>>(
    set: &KeySet,
    token: &Compact<'_>,
    newer: impl FnOnce() -> Result<Option<S>, Failure>,
) -> Result<(), Failure> {
    let Err(old) = set.verify(token) else {
        return Ok(());
    };
    match newer() {
        Ok(Some(set)) => set
            .as_ref()
            .verify(token)
            .map_err(|unverified| unverified.failure),
        Err(unavailable) if old.is_unknown => Err(unavailable),
        Ok(None) | Err(_) => Err(old.failure),
    }
}
