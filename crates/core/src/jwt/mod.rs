//! Bearer tokens: a JWT (RFC 7519) is taken apart, held against its issuer's
//! keys, and then against its issuer's policy.
//!
//! The signature is aws-lc-rs' business. What is around it is done here and not
//! by a JWT library, because it is what this project is for: keys are bound to
//! an issuer and to algorithms, nothing is read that could be read in two ways,
//! every refusal has a reason, and time is injected.

#![forbid(unsafe_code)]

pub(crate) mod claims;
pub(crate) mod json;
pub(crate) mod jws;
pub(crate) mod keys;
mod times;
mod told;
mod validation;

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Expected, IssuerConfig, JwtConfig, KeysAt};
use crate::credential::Token;
use crate::error::{Failure, Reason};
use crate::platform::clock::BootTime;
use crate::platform::deadline::Deadline;
use crate::platform::log::{Log, quoted};
use crate::policy::attribute_rules::is_word_list;
use crate::principal::Principal;
use crate::protocol::Hint;
use crate::session_cache::{SessionCacheHandle, Validity};
use crate::trace::{Checks, Step, Told, Witness};
use claims::Claims;
use json::Json;
use jws::{Compact, Parts};
use keys::file_source::Files;
pub use keys::file_source::key_files;
pub use keys::inspect::{
    KeyReport, SetReport, check_keys, holds_a_secret, inspect_published, rsa_moduli,
};
use keys::key_set::KeySet;
use keys::remote_source::{Dated, Published};

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
            .filter(|condition| is_word_list(condition.attribute()))
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

    /// Validates a token: who it speaks for, and until when that revalidate_at.
    ///
    /// # Errors
    /// Why it is not good, not allowed, or could not be judged.
    pub fn validate(
        &self,
        token: &Token,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
        witness: Witness<'_>,
    ) -> Result<(Principal, Validity), Failure> {
        let mut checks = Checks::new(witness);
        let parts = Parts::decode(token, &mut checks)?;
        let token = Compact::parse(&parts, &mut checks)?;
        let issuer = self.issuer(&token, &mut checks)?;
        validation::judge_header(&issuer.config, &token.header, &mut checks)?;
        let deadline = deadline.within(issuer.config.timeout);
        let revalidate_at = issuer.verify(&token, sessions, &deadline, log, &mut checks)?;
        let claims = Claims::new(token.claims);
        let now = sessions.wall();
        let (principal, expires) = validation::judge(&issuer.config, &claims, now, checks)?;
        let revalidate_at = revalidate_at.ok_or_else(validation::undecided)?;
        Ok((
            principal,
            Validity {
                revalidate_at,
                expires,
            },
        ))
    }

    /// The issuer that the token says it is of.
    fn issuer(&self, token: &Compact<'_>, checks: &mut Checks<'_>) -> Result<&Issuer, Failure> {
        let iss = match token.claims.get("iss") {
            None => None,
            Some(Json::Text(iss)) => Some(iss.as_ref()),
            Some(other) => {
                let failure = Failure::new(Reason::ClaimsMalformed, "iss is not a text");
                let told = |_: Option<&_>| Told::found(quoted(&other.to_string()));
                return checks.must(Step::Issuer, told, Err(failure));
            }
        };
        let named = |issuer: &&Issuer| match &issuer.config.issuer {
            Expected::OneOf(values) => iss.is_some_and(|iss| values.iter().any(|v| v == iss)),
            Expected::Any => false,
        };
        let any = |issuer: &&Issuer| issuer.config.issuer == Expected::Any;
        let found = self.issuers.iter().find(named);
        let found = found
            .or_else(|| self.issuers.iter().find(any))
            .ok_or_else(|| {
                let what = match iss {
                    Some(iss) => format!("iss is {}, which is not configured", quoted(iss)),
                    None => "the token has no iss".to_owned(),
                };
                Failure::new(Reason::IssuerNotAllowed, what)
            });
        let told = |found: Option<&&Issuer>| match found {
            Some(found) => told::issuer(iss, std::iter::once(&found.config)),
            None => told::issuer(iss, self.issuers.iter().map(|issuer| &issuer.config)),
        };
        checks.must(Step::Issuer, told, found)
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

    /// Verifies the signature, and says until when that revalidate_at without looking
    /// at the keys again; nothing if that failed and somebody looks on.
    fn verify(
        &self,
        token: &Compact<'_>,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
        checks: &mut Checks<'_>,
    ) -> Result<Option<BootTime>, Failure> {
        let now = sessions.now();
        let header = &token.header;
        match &self.keys {
            Keys::Files(files) => {
                let told = |set: Option<&Arc<KeySet>>| {
                    told::keys(set.map(|set| &**set), header, &files.place())
                };
                let Some(current) = checks.check(Step::Keys, told, files.current(now, log))? else {
                    return Ok(None);
                };
                let revalidate_at = now.plus(self.config.keys_refresh);
                let newer = || {
                    let newest = files.newest(now, log)?;
                    Ok((!Arc::ptr_eq(&newest, &current)).then_some((newest, revalidate_at)))
                };
                verify((&current, revalidate_at), token, newer, checks)
            }
            Keys::Published(keys) => {
                let told = |dated: Option<&Dated>| {
                    let place = keys.place(dated, now);
                    told::keys(dated.map(|dated| &*dated.set), header, &place)
                };
                let current = keys.current(sessions, deadline, log);
                let Some(current) = checks.check(Step::Keys, told, current)? else {
                    return Ok(None);
                };
                let newer = || {
                    let newer = keys.newer(&current, sessions, deadline, log)?;
                    Ok(newer.map(|newer| (newer.set, newer.revalidate_at)))
                };
                verify((&current.set, current.revalidate_at), token, newer, checks)
            }
        }
    }
}

/// Verifies with a set of keys or, if it lacks the key, with a newer one; and says
/// until when the one revalidate_at that did.
fn verify(
    (set, revalidate_at): (&KeySet, BootTime),
    token: &Compact<'_>,
    newer: impl FnOnce() -> Result<Option<(Arc<KeySet>, BootTime)>, Failure>,
    checks: &mut Checks<'_>,
) -> Result<Option<BootTime>, Failure> {
    let verified = set.verify(token).map(|()| revalidate_at);
    let verified = verified.or_else(|old| {
        let newer = newer();
        checks.witness.tell(Step::Keys, || {
            told::newer(newer.as_ref().map(Option::as_ref), &token.header)
        });
        match newer {
            Ok(Some((set, revalidate_at))) => set
                .verify(token)
                .map(|()| revalidate_at)
                .map_err(|unverified| unverified.failure),
            Err(unavailable) if old.is_unknown => Err(unavailable),
            Ok(None) | Err(_) => Err(old.failure),
        }
    });
    let told = |_: Option<&BootTime>| told::signature(token);
    checks.check(Step::Signature, told, verified)
}
