//! Keys that an issuer publishes. One process fetches them at a time and shares them with all
//! processes of the host. They are fetched again when they are old, and when they lack the key of a
//! token.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use url::Url;

use super::jwk_set;
use super::jwk_set::Secrets;
use super::key_set::KeySet;
use super::shared_jwks::{SharedJwks, State};
use crate::config::{IssuerConfig, KeysAt, server_url};
use crate::error::{Failure, Reason};
use crate::jwt::json;
use crate::jwt::json::Json;
use crate::net::http_client::Client;
use crate::platform::clock::BootTime;
use crate::platform::deadline::Deadline;
use crate::platform::log::{Level, Log, quoted};
use crate::session_cache::{SessionCacheHandle, ValidationLock};

/// The maximum length of a response, in bytes: several times that of the largest known one.
const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// The minimum interval between fetches because of unknown keys: anybody can write any `kid` into a
/// token.
const MIN_UNKNOWN_KEY_INTERVAL: Duration = Duration::from_secs(10);

/// How long an issuer that did not answer is not asked again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How often a login that waits for another one's fetch checks for the result.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The published keys of an issuer.
pub(crate) struct RemoteKeySource {
    at: KeysAt,
    name: String,
    http: Client,
    timeout: Duration,
    refresh: Duration,
    keep: Duration,
    /// The last key set that this process has read.
    read: Mutex<Option<FetchedJwks>>,
}

/// A key set, and when it was fetched.
#[derive(Clone)]
pub(crate) struct FetchedJwks {
    pub(crate) set: Arc<KeySet>,
    fetched: BootTime,
    /// When the keys must be fetched again.
    pub(crate) revalidate_at: BootTime,
}

impl RemoteKeySource {
    pub(crate) fn new(config: &IssuerConfig) -> Self {
        Self {
            at: config.keys.clone(),
            name: format!("{:?} {:?}", config.keys, config.ca_file),
            http: Client::new(config.ca_file.clone(), config.timeout),
            timeout: config.timeout,
            refresh: config.keys_refresh,
            keep: config.keys_keep,
            read: Mutex::new(None),
        }
    }

    /// The keys, fetched if there are none or they are old. While the issuer does not answer, the
    /// last keys are used, for as long as configured.
    ///
    /// # Errors
    /// Why there are no keys.
    pub(crate) fn current(
        &self,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<FetchedJwks, Failure> {
        let place = SharedJwks::new(sessions, &self.name);
        loop {
            let now = sessions.now();
            let state = place.state(sessions);
            if state.is_younger(self.refresh, now)
                && let Some(fetched_jwks) = self.kept(sessions, &place, state, log)
            {
                return Ok(fetched_jwks);
            }
            // Another request at once would make each login wait.
            if state.has_failed_within(RETRY_INTERVAL, now) {
                let avoided =
                    "the issuer did not answer a moment ago; it is asked again in seconds";
                let failure = Failure::new(Reason::ServerAvoided, avoided);
                return self.last(sessions, &place, state, log).ok_or(failure);
            }
            let claim = match sessions.try_lock(&place.state) {
                Some(claim) => claim,
                // Another login is fetching the keys and may be slow or stopped. A login that can
                // use the last keys does not wait for it.
                None if let Some(last) = self.last(sessions, &place, state, log) => {
                    return Ok(last);
                }
                None => {
                    deadline.nap(POLL_INTERVAL)?;
                    continue;
                }
            };
            if place.state(sessions) != state {
                // The previous holder of the lock may or may not have fetched the keys.
                continue;
            }
            return match self.fetch(sessions, &place, state, claim, deadline, log) {
                Ok(fetched_jwks) => Ok(fetched_jwks),
                Err(failure) if failure.reason() == Reason::Interrupted => Err(failure),
                Err(failure) => self.last(sessions, &place, state, log).ok_or(failure),
            };
        }
    }

    /// The location and age of the keys, for messages.
    pub(crate) fn place(&self, fetched_jwks: Option<&FetchedJwks>, now: BootTime) -> String {
        let address = match &self.at {
            KeysAt::Discovery { document, .. } => format!("{document} (jwks_uri)"),
            KeysAt::Url(url) => url.to_string(),
            KeysAt::Path(path) => path.display().to_string(),
        };
        match fetched_jwks.and_then(|fetched_jwks| now.since(fetched_jwks.fetched)) {
            Some(age) if age > self.refresh => {
                format!("{address}, the last copy, {} s old", age.as_secs())
            }
            Some(age) if !age.is_zero() => {
                format!("{address}, got {} s ago", age.as_secs())
            }
            _ => format!("{address}, asked just now"),
        }
    }

    /// Keys that are newer than `old`, which lack the key of a token; `None` if there are none.
    ///
    /// # Errors
    /// Why that cannot be found out.
    pub(crate) fn newer(
        &self,
        old: &FetchedJwks,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<Option<FetchedJwks>, Failure> {
        let place = SharedJwks::new(sessions, &self.name);
        loop {
            let now = sessions.now();
            let state = place.state(sessions);
            if state.fetched > old.fetched {
                return Ok(self.kept(sessions, &place, state, log));
            }
            if state.was_asked_within(MIN_UNKNOWN_KEY_INTERVAL, now)
                || state.has_failed_within(RETRY_INTERVAL, now)
            {
                if state.is_failing() {
                    let what = "the token's key is not known, and the issuer does not answer";
                    return Err(Failure::new(Reason::ServerAvoided, what));
                }
                return Ok(None);
            }
            let Some(claim) = sessions.try_lock(&place.state) else {
                deadline.nap(POLL_INTERVAL)?;
                continue;
            };
            if place.state(sessions) != state {
                continue;
            }
            let state = State {
                asked: now,
                ..state
            };
            return self
                .fetch(sessions, &place, state, claim, deadline, log)
                .map(Some);
        }
    }

    /// Fetches the keys, and shares the result with the other processes.
    fn fetch(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &SharedJwks,
        state: State,
        claim: ValidationLock,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<FetchedJwks, Failure> {
        let left = deadline.remaining()?;
        let fetched = self.ask(deadline).and_then(|body| {
            let set = self.parse(&body)?;
            Ok((body, set))
        });
        let now = sessions.now();
        let fetched_jwks = match fetched {
            Ok((body, set)) => {
                for complaint in &set.unusable {
                    log.write(Level::Warning, &format!("sso: jwt_keys: {complaint}"));
                }
                place.keep(sessions, state, now, &body);
                Ok(self.remember(set, now))
            }
            Err(failure) => {
                if self.is_about_the_issuer(&failure, left) {
                    place.fail(sessions, state, now);
                }
                let line = format!("sso: the issuer's keys could not be fetched: {failure}");
                log.write(Level::Warning, &line);
                Err(failure)
            }
        };
        drop(claim);
        fetched_jwks
    }

    /// Whether a failure says something about the issuer, and not only about this process or the
    /// `left` time.
    fn is_about_the_issuer(&self, failure: &Failure, left: Duration) -> bool {
        match failure.reason() {
            Reason::Interrupted
            | Reason::TrustUnusable
            | Reason::ProcessExhausted
            | Reason::InternalError => false,
            Reason::ServerTimeout => left >= self.timeout / 2,
            _ => true,
        }
    }

    /// Fetches the keys without sharing them. Returns them as published, and the issuer's
    /// certificate in DER.
    ///
    /// # Errors
    /// Why they could not be fetched.
    pub(crate) fn fetch_unshared(
        &self,
        deadline: &Deadline<'_>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        let url = match &self.at {
            KeysAt::Discovery { document, .. } => document,
            KeysAt::Url(url) => url,
            KeysAt::Path(_) => return Err(unusable("keys are in files".to_owned())),
        };
        // This additional request is made for the certificate of the configured server.
        let response = self.http.get(url.clone(), MAX_RESPONSE_BYTES, deadline);
        let certificate = response.map_err(|error| error.failure)?.certificate;
        Ok((self.ask(deadline)?, certificate))
    }

    fn ask(&self, deadline: &Deadline<'_>) -> Result<Vec<u8>, Failure> {
        match &self.at {
            KeysAt::Url(url) => self.get(url, deadline),
            KeysAt::Discovery { document, issuer } => {
                let description = self.get(document, deadline)?;
                let url = keys_of(&description, document, issuer)
                    .map_err(|what| unusable(format!("{document}: {what}")))?;
                self.get(&url, deadline)
            }
            KeysAt::Path(_) => Err(Failure::new(Reason::InternalError, "keys are in files")),
        }
    }

    fn get(&self, url: &Url, deadline: &Deadline<'_>) -> Result<Vec<u8>, Failure> {
        let response = self
            .http
            .get(url.clone(), MAX_RESPONSE_BYTES, deadline)
            .map_err(|error| error.failure)?;
        match response.status {
            200 => Ok(response.body),
            status => Err(unusable(format!("{url} answers with HTTP status {status}"))),
        }
    }

    fn parse(&self, body: &[u8]) -> Result<KeySet, Failure> {
        let set = jwk_set::read(body, Secrets::Ignored)
            .map_err(|what| unusable(format!("the answer {what}")))?;
        if set.keys.is_empty() {
            return Err(unusable(
                "the key set has no key that could be used".to_owned(),
            ));
        }
        Ok(set)
    }

    /// The shared copy, as this process last read it or read again.
    fn kept(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &SharedJwks,
        state: State,
        log: &dyn Log,
    ) -> Option<FetchedJwks> {
        if let Some(fetched_jwks) = &*self.read.lock()
            && fetched_jwks.fetched == state.fetched
        {
            return Some(fetched_jwks.clone());
        }
        let (fetched, body) = place.set(sessions)?;
        match self.parse(&body) {
            Ok(set) => Some(self.remember(set, fetched)),
            Err(failure) => {
                log.write(Level::Error, &format!("sso: the kept keys: {failure}"));
                None
            }
        }
    }

    /// The shared copy, if it may still be used while the issuer does not answer.
    fn last(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &SharedJwks,
        state: State,
        log: &dyn Log,
    ) -> Option<FetchedJwks> {
        let now = sessions.now();
        if !state.is_younger(self.refresh + self.keep, now) {
            return None;
        }
        let fetched_jwks = self.kept(sessions, place, state, log)?;
        // The issuer may answer again soon.
        let revalidate_at = now.plus(RETRY_INTERVAL);
        Some(FetchedJwks {
            revalidate_at,
            ..fetched_jwks
        })
    }

    fn remember(&self, set: KeySet, fetched: BootTime) -> FetchedJwks {
        let fetched_jwks = FetchedJwks {
            set: Arc::new(set),
            fetched,
            revalidate_at: fetched.plus(self.refresh),
        };
        *self.read.lock() = Some(fetched_jwks.clone());
        fetched_jwks
    }
}

/// The location of the keys in an issuer's metadata, which must name exactly that issuer (OpenID
/// Connect Discovery 1.0, section 4.3).
pub(crate) fn keys_of(description: &[u8], document: &Url, issuer: &str) -> Result<Url, String> {
    let description = json::object(description)?;
    let member = |name: &str| {
        let text = description.get(name).and_then(Json::as_text);
        text.ok_or_else(|| format!("has no {name}"))
    };
    let found = member("issuer")?;
    if found != issuer {
        let found = quoted(found);
        return Err(format!(
            "is of the issuer {found}, and jwt_issuer is {issuer}"
        ));
    }
    let text = member("jwks_uri")?;
    let url = server_url(text).map_err(|problem| format!("jwks_uri {} {problem}", quoted(text)))?;
    if url.scheme() == "http" && document.scheme() != "http" {
        // On this host anybody may listen.
        return Err(format!("jwks_uri {} is not https", quoted(text)));
    }
    Ok(url)
}

fn unusable(what: String) -> Failure {
    Failure::new(Reason::ReplyUnusable, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_document_must_name_exactly_the_issuer() {
        let document = Url::parse("https://sso.univ.fr/.well-known/openid-configuration").unwrap();
        let keys_of = |text: &str| keys_of(text.as_bytes(), &document, "https://sso.univ.fr/");
        let good = r#"{"issuer":"https://sso.univ.fr/","jwks_uri":"https://keys.univ.fr/jwks"}"#;
        assert_eq!(keys_of(good).unwrap().as_str(), "https://keys.univ.fr/jwks");
        for bad in [
            good.replace("fr/\"", "fr\""),
            good.replace("https://keys", "http://keys"),
            good.replace("https://keys.univ.fr", "http://localhost"),
            good.replace("jwks_uri", "jwks"),
            good.replace("issuer", "iss"),
            good.replace('{', "{\"issuer\":\"https://evil.example/\","),
            good.replace('{', "{\"jwks_uri\":\"https://evil.example/\","),
            "<html>".to_owned(),
        ] {
            assert!(keys_of(&bad).is_err(), "{bad}");
        }
    }
}
