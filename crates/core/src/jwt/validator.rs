//! The way of a token through its validation.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::claims::Claims;
use super::json::{Json, Object};
use super::jws::{self, Header, Parts};
use super::keys::file_source::FileKeySource;
use super::keys::key_set::KeySet;
use super::keys::remote_source::RemoteKeySource;
use super::validation;
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
use crate::trace::{Check, CheckObserver, Checks, Comparison, Describe, Step};

/// Validates the tokens of all configured issuers.
pub struct JwtValidator {
    issuers: Vec<Issuer>,
}

/// An issuer, and where its keys come from.
struct Issuer {
    config: IssuerConfig,
    keys: KeySource,
}

enum KeySource {
    Files(FileKeySource),
    Remote(Box<RemoteKeySource>),
}

/// A key set, and until when a signature that it verifies need not be verified again.
type DatedKeys = (Arc<KeySet>, BootTime);

impl JwtValidator {
    /// Creates a validator. Keys are read when the first token needs them.
    pub fn new(config: JwtConfig) -> Self {
        let issuers = config.issuers.into_iter().map(Issuer::new).collect();
        Self { issuers }
    }

    /// The maximum duration of a validation, for all issuers. Only requests for keys take time.
    pub fn timeout(&self) -> Duration {
        let timeouts = self.issuers.iter().map(|issuer| issuer.config.timeout);
        timeouts.max().unwrap_or_default()
    }

    /// What a client whose token was refused may learn (RFC 7628, section 3.2.2). With several
    /// issuers the hint is empty, because any of them could be the client's.
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

    /// Validates a token, and returns the principal and how long the result is valid.
    ///
    /// # Errors
    /// Why the token is invalid or not allowed, or why that could not be found out.
    pub fn validate(
        &self,
        token: &Token,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
        observer: CheckObserver<'_>,
    ) -> Result<(Principal, Validity), Failure> {
        let mut checks = Checks::new(observer);
        let parts = checks.require(jws::check_form(token))?;
        let header = checks.require(jws::check_header(&parts))?;
        let payload = checks.require(jws::check_payload(&parts))?;
        let issuer = checks.require(self.check_issuer(&payload))?;
        checks.run(validation::check_type(&issuer.config, &header))?;
        checks.run(validation::check_algorithm(&issuer.config, &header))?;
        let deadline = deadline.within(issuer.config.timeout);
        let signature = (&parts, &header);
        let revalidate_at =
            issuer.verify_signature(signature, sessions, &deadline, log, &mut checks)?;
        let claims = Claims::new(payload);
        let (principal, expires) =
            validation::validate_claims(&issuer.config, &claims, sessions.wall(), checks)?;
        let validity = Validity {
            revalidate_at: revalidate_at.ok_or_else(validation::missing_result)?,
            expires,
        };
        Ok((principal, validity))
    }

    /// Requires that the token names a configured issuer (RFC 7519, section 4.1.1), and returns
    /// that issuer.
    fn check_issuer(&self, payload: &Object<'_>) -> Check<&Issuer, impl Describe> {
        let iss = payload.get("iss");
        let is_named = |issuer: &&Issuer| match (&issuer.config.issuer, iss) {
            (Expected::OneOf(names), Some(Json::Text(iss))) => names.iter().any(|name| name == iss),
            _ => false,
        };
        let is_any = |issuer: &&Issuer| issuer.config.issuer == Expected::Any;
        let found = self.issuers.iter().find(is_named);
        let found = found.or_else(|| self.issuers.iter().find(is_any));
        let result = match (iss, found) {
            (Some(other), _) if other.as_text().is_none() => {
                Err(Failure::new(Reason::ClaimsMalformed, "iss is not a text"))
            }
            (_, Some(issuer)) => Ok(issuer),
            (Some(iss), None) => {
                let iss = quoted(iss.as_text().unwrap_or_default());
                let what = format!("iss is {iss}, which is not configured");
                Err(Failure::new(Reason::IssuerNotAllowed, what))
            }
            (None, None) => {
                let what = "the token has no iss";
                Err(Failure::new(Reason::IssuerNotAllowed, what))
            }
        };
        let described = result.is_ok().then_some(found).flatten();
        Check::new(Step::Issuer, result, move || {
            let issuers: Vec<&Issuer> = match described {
                Some(issuer) => vec![issuer],
                None => self.issuers.iter().collect(),
            };
            let expected = issuers.iter().map(|issuer| {
                let option = issuer.config.option("issuer");
                format!("{option} {}", issuer.config.issuer)
            });
            let expected = expected.collect::<Vec<_>>().join(", ");
            match iss {
                None => Comparison::actual("none").expected(expected),
                Some(Json::Text(iss)) => Comparison::actual(quoted(iss)).expected(expected),
                Some(other) => Comparison::actual(quoted(&other.to_string())),
            }
        })
    }
}

impl Issuer {
    fn new(config: IssuerConfig) -> Self {
        let keys = match &config.keys {
            KeysAt::Path(path) => KeySource::Files(FileKeySource::new(path.clone())),
            KeysAt::Url(_) | KeysAt::Discovery { .. } => {
                KeySource::Remote(Box::new(RemoteKeySource::new(&config)))
            }
        };
        Self { config, keys }
    }

    /// Verifies the token's signature with the issuer's keys, and returns until when that need
    /// not be repeated; `None` if it failed under an observer.
    ///
    /// # Errors
    /// Why no key verifies the signature, or why the keys are unknown.
    fn verify_signature(
        &self,
        token: (&Parts<'_>, &Header),
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
        checks: &mut Checks<'_>,
    ) -> Result<Option<BootTime>, Failure> {
        let now = sessions.now();
        let (_, header) = token;
        match &self.keys {
            KeySource::Files(files) => {
                let current = files.current(now, log);
                let set = current.as_ref().ok().cloned();
                let check = check_keys(current, header, set, || files.place());
                let Some(current) = checks.run(check)? else {
                    return Ok(None);
                };
                let revalidate_at = now.plus(self.config.keys_refresh);
                let newer = || {
                    let newest = files.newest(now, log)?;
                    Ok((!Arc::ptr_eq(&newest, &current)).then_some((newest, revalidate_at)))
                };
                verify(token, (&current, revalidate_at), newer, checks)
            }
            KeySource::Remote(keys) => {
                let current = keys.current(sessions, deadline, log);
                let fetched = current.as_ref().ok().cloned();
                let set = fetched.as_ref().map(|fetched| Arc::clone(&fetched.set));
                let place = move || keys.place(fetched.as_ref(), now);
                let Some(current) = checks.run(check_keys(current, header, set, place))? else {
                    return Ok(None);
                };
                let newer = || {
                    let newer = keys.newer(&current, sessions, deadline, log)?;
                    Ok(newer.map(|newer| (newer.set, newer.revalidate_at)))
                };
                verify(token, (&current.set, current.revalidate_at), newer, checks)
            }
        }
    }
}

/// Requires that the issuer's keys are known.
fn check_keys<T>(
    keys: Result<T, Failure>,
    header: &Header,
    set: Option<Arc<KeySet>>,
    place: impl FnOnce() -> String,
) -> Check<T, impl Describe> {
    Check::new(Step::Keys, keys, move || {
        let candidates = set.map(|set| set.describe(header)).unwrap_or_default();
        Comparison::actual(candidates).expected(format!("a key of {}", place()))
    })
}

/// Verifies a signature with `current` and, if that fails, with newer keys. Returns until when
/// the result need not be verified again.
fn verify(
    (parts, header): (&Parts<'_>, &Header),
    (current, revalidate_at): (&KeySet, BootTime),
    newer: impl FnOnce() -> Result<Option<DatedKeys>, Failure>,
    checks: &mut Checks<'_>,
) -> Result<Option<BootTime>, Failure> {
    let verified = current.verify(header, parts).map(|()| revalidate_at);
    let verified = verified.or_else(|unverified| {
        let newer = newer();
        let observer = checks.observer();
        observer.note(Step::Keys, || describe_newer(&newer, header));
        match newer {
            Ok(Some((newer, revalidate_at))) => newer
                .verify(header, parts)
                .map(|()| revalidate_at)
                .map_err(|unverified| unverified.failure),
            Err(unavailable) if unverified.is_unknown => Err(unavailable),
            Ok(None) | Err(_) => Err(unverified.failure),
        }
    });
    checks.run(Check::new(Step::Signature, verified, || {
        let Header { algorithm, kid, .. } = header;
        let kid = kid.as_deref().map(|kid| format!(", kid {}", quoted(kid)));
        let length = parts.signature.len();
        let actual = format!("{algorithm}{}, {length} bytes", kid.unwrap_or_default());
        Comparison::actual(actual).expected("that of a key that is tried")
    }))
}

fn describe_newer(newer: &Result<Option<DatedKeys>, Failure>, header: &Header) -> Comparison {
    match newer {
        Ok(Some((set, _))) => {
            Comparison::actual(set.describe(header)).expected("a key of the same place, asked anew")
        }
        Ok(None) => {
            Comparison::actual("there are no newer ones, or they were asked for a moment ago")
        }
        Err(failure) => Comparison::actual(format!("no newer ones: {failure}")),
    }
}
