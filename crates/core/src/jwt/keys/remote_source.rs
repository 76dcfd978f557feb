//! Keys that an issuer publishes: fetched by one process at a time, shared with
//! all of the host, and looked for again when they are old or do not have the
//! key of a token.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use url::Url;

use super::jwk_set;
use super::jwk_set::Secrets;
use super::key_set::KeySet;
use super::shared_jwks::{Place, State};
use crate::config::{IssuerConfig, KeysAt, server_url};
use crate::error::{Failure, Reason};
use crate::jwt::json;
use crate::jwt::json::Json;
use crate::net::http_client::Client;
use crate::platform::clock::BootTime;
use crate::platform::deadline::Deadline;
use crate::platform::log::{Level, Log, quoted};
use crate::session_cache::{SessionCacheHandle, ValidationLock};

/// The longest answer taken, in bytes: several times the longest seen.
const LONGEST: usize = 256 << 10;

/// How often an unknown key makes the host look again: a stranger can write any
/// name of a key into a token.
const THROTTLE: Duration = Duration::from_secs(10);

/// How long an issuer that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a login waits before it looks again whether another one has fetched
/// the keys.
const LOOK: Duration = Duration::from_millis(10);

/// The published keys of an issuer.
pub(crate) struct Published {
    at: KeysAt,
    name: String,
    http: Client,
    timeout: Duration,
    refresh: Duration,
    keep: Duration,
    /// The last set that this process has read.
    read: Mutex<Option<Dated>>,
}

/// A set, and when it was got.
#[derive(Clone)]
pub(crate) struct Dated {
    pub(crate) set: Arc<KeySet>,
    fetched: BootTime,
    /// Until when what it says need not be asked again.
    pub(crate) revalidate_at: BootTime,
}

impl Published {
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

    /// The keys, fetched if there are none or they are old. While the issuer
    /// does not answer the last ones serve, for as long as configured.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn current(
        &self,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<Dated, Failure> {
        let place = Place::new(sessions, &self.name);
        loop {
            let now = sessions.now();
            let state = place.state(sessions);
            if state.is_younger(self.refresh, now)
                && let Some(dated) = self.kept(sessions, &place, state, log)
            {
                return Ok(dated);
            }
            // To ask again at once would make every login wait.
            if state.has_failed_within(PAUSE, now) {
                let avoided =
                    "the issuer did not answer a moment ago; it is asked again in seconds";
                let failure = Failure::new(Reason::ServerAvoided, avoided);
                return self.last(sessions, &place, state, log).ok_or(failure);
            }
            let claim = match sessions.try_lock(&place.state) {
                Some(claim) => claim,
                // Somebody is asking, and may be slow, or stopped: nobody waits
                // for that who need not.
                None if let Some(last) = self.last(sessions, &place, state, log) => {
                    return Ok(last);
                }
                None => {
                    deadline.nap(LOOK)?;
                    continue;
                }
            };
            if place.state(sessions) != state {
                // Whoever had the claim before has been answered, or not.
                continue;
            }
            return match self.fetch(sessions, &place, state, claim, deadline, log) {
                Ok(dated) => Ok(dated),
                Err(failure) if failure.reason() == Reason::Interrupted => Err(failure),
                Err(failure) => self.last(sessions, &place, state, log).ok_or(failure),
            };
        }
    }

    /// Where they are, and how old, for people.
    pub(crate) fn place(&self, dated: Option<&Dated>, now: BootTime) -> String {
        let address = match &self.at {
            KeysAt::Discovery { document, .. } => format!("{document} (jwks_uri)"),
            KeysAt::Url(url) => url.to_string(),
            KeysAt::Path(path) => path.display().to_string(),
        };
        match dated.and_then(|dated| now.since(dated.fetched)) {
            Some(age) if age > self.refresh => {
                format!("{address}, the last copy, {} s old", age.as_secs())
            }
            Some(age) if !age.is_zero() => {
                format!("{address}, got {} s ago", age.as_secs())
            }
            _ => format!("{address}, asked just now"),
        }
    }

    /// Keys that are newer than `old`, which do not have what they should, or
    /// `None` if there are none.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) fn newer(
        &self,
        old: &Dated,
        sessions: &SessionCacheHandle<'_>,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<Option<Dated>, Failure> {
        let place = Place::new(sessions, &self.name);
        loop {
            let now = sessions.now();
            let state = place.state(sessions);
            if state.fetched > old.fetched {
                return Ok(self.kept(sessions, &place, state, log));
            }
            if state.was_asked_within(THROTTLE, now) || state.has_failed_within(PAUSE, now) {
                if state.is_failing() {
                    let what = "the token's key is not known, and the issuer does not answer";
                    return Err(Failure::new(Reason::ServerAvoided, what));
                }
                return Ok(None);
            }
            let Some(claim) = sessions.try_lock(&place.state) else {
                deadline.nap(LOOK)?;
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

    /// Asks the issuer, and tells the other processes what came of it.
    fn fetch(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &Place,
        state: State,
        claim: ValidationLock,
        deadline: &Deadline<'_>,
        log: &dyn Log,
    ) -> Result<Dated, Failure> {
        let left = deadline.remaining()?;
        let fetched = self.ask(deadline).and_then(|body| {
            let set = self.parse(&body)?;
            Ok((body, set))
        });
        let now = sessions.now();
        let dated = match fetched {
            Ok((body, set)) => {
                for complaint in &set.unusable {
                    log.write(Level::Warning, &format!("sso: jwt_keys: {complaint}"));
                }
                place.keep(sessions, state, now, &body);
                Ok(self.remember(set, now))
            }
            Err(failure) => {
                if self.is_the_issuers(&failure, left) {
                    place.fail(sessions, state, now);
                }
                let line = format!("sso: the issuer's keys could not be fetched: {failure}");
                log.write(Level::Warning, &line);
                Err(failure)
            }
        };
        drop(claim);
        dated
    }

    /// Whether a failure says something about the issuer, rather than about this
    /// process or the little time that it had `left`.
    fn is_the_issuers(&self, failure: &Failure, left: Duration) -> bool {
        match failure.reason() {
            Reason::Interrupted
            | Reason::TrustUnusable
            | Reason::ProcessExhausted
            | Reason::InternalError => false,
            Reason::ServerTimeout => left >= self.timeout / 2,
            _ => true,
        }
    }

    /// What the issuer publishes now, as it stands, and its certificate in DER.
    ///
    /// # Errors
    /// Why it could not be fetched.
    pub(crate) fn look(
        &self,
        deadline: &Deadline<'_>,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        let url = match &self.at {
            KeysAt::Discovery { document, .. } => document,
            KeysAt::Url(url) => url,
            KeysAt::Path(_) => return Err(unusable("keys are in files".to_owned())),
        };
        // Once more than a login does: for the certificate of who is configured.
        let response = self.http.get(url.clone(), LONGEST, deadline);
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
            .get(url.clone(), LONGEST, deadline)
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

    /// The set that the host keeps, as this process last read it or anew.
    fn kept(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &Place,
        state: State,
        log: &dyn Log,
    ) -> Option<Dated> {
        if let Some(dated) = &*self.read.lock()
            && dated.fetched == state.fetched
        {
            return Some(dated.clone());
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

    /// The set that is kept, if it may still serve though the issuer is silent.
    fn last(
        &self,
        sessions: &SessionCacheHandle<'_>,
        place: &Place,
        state: State,
        log: &dyn Log,
    ) -> Option<Dated> {
        let now = sessions.now();
        if !state.is_younger(self.refresh + self.keep, now) {
            return None;
        }
        let dated = self.kept(sessions, place, state, log)?;
        // Not for long: the issuer may be back.
        let revalidate_at = now.plus(PAUSE);
        Some(Dated {
            revalidate_at,
            ..dated
        })
    }

    fn remember(&self, set: KeySet, fetched: BootTime) -> Dated {
        let dated = Dated {
            set: Arc::new(set),
            fetched,
            revalidate_at: fetched.plus(self.refresh),
        };
        *self.read.lock() = Some(dated.clone());
        dated
    }
}

/// The place of the keys in an issuer's description of itself, which must be
/// of that issuer to the letter (OpenID Connect Discovery 1.0, section 4.3).
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
    fn a_description_must_be_of_the_issuer_to_the_letter() {
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
