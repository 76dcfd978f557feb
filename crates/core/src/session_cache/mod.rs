//! Sessions: a credential that was good once is good again, in every process of
//! the host, until its session ends.
//!
//! The host tier is asked first. What it cannot take or tell, for whatever
//! reason, the memory tier of the process takes and tells, and the log says why.

mod admin;
pub(crate) mod backend;
pub(crate) mod cache_key;
pub(crate) mod circuit_breaker;
pub(crate) mod entry;
pub(crate) mod flush_log;
mod handle;
mod lmdb;
mod memory_lru;
pub(crate) mod rate_bucket;
mod rate_limit;
mod tiers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use admin::{Flushed, Listed, Store, Usage};
pub use backend::{LockRelease, ValidationLock};
pub use cache_key::Secret;
pub use cache_key::{Key, digest};
pub use circuit_breaker::{Outcome, Permission};
pub use entry::{Lifetimes, SessionOrigin, Validity};
pub use flush_log::Selector;
pub use handle::{CachedResult, SessionCacheHandle};
pub use rate_bucket::Charge;
pub use rate_limit::{Admission, Channel, Claimed, RateLimits, Requester};

use crate::config::SessionsConfig;
use crate::credential::CredentialKind;
use crate::error::{Failure, Reason};
use crate::metrics::recorder::Counting;
use crate::metrics::{Counters, Decider};
use crate::platform::clock::{BootTime, Clock};
use crate::platform::descriptors;
use crate::platform::log::{Level, Log};
use crate::state_dir::StoreError;
use lmdb::Host;
use lmdb::locked_env::PATIENCE;
use memory_lru::Memory;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This process's own memory.
    Memory,
    /// The store that all processes share.
    Host,
}

/// The sessions of this process and its host.
pub struct SessionCache {
    config: SessionsConfig,
    clock: Arc<dyn Clock>,
    opened: Mutex<Opened>,
    /// When it was last said that the host tier is of no use.
    complained: Mutex<Option<BootTime>>,
    /// Whether the store was found to be no longer the one by its name.
    was_replaced: AtomicBool,
    /// When that was last looked at, in milliseconds since boot.
    looked: AtomicU64,
    counting: Counting,
    /// Whether nothing is made or written for other processes: what they know is
    /// read, and what is found out stays in memory.
    observes: bool,
}

/// What is opened with the first credential: most programs that load the plugin
/// never see one.
struct Opened {
    tiers: Option<Arc<Tiers>>,
    /// From when on the host tier is worth a try.
    retry: BootTime,
    /// Why it is not known until then what the host knows.
    outage: Option<Failure>,
    /// What serves meanwhile what may do without the host.
    without_host: Option<Arc<Tiers>>,
}

/// What trouble with the host tier comes to.
#[derive(Clone, Copy)]
pub(crate) enum Consequence {
    /// Processes have sessions of their own.
    NotShared,
    /// Logins by tickets fail, because what is known of them is not known.
    Outage,
}

pub(crate) struct Tiers {
    host: Option<Host>,
    memory: Memory,
    secret: Secret,
    /// Whether something was written to memory because the host did not take it.
    fell_back: AtomicBool,
}

/// For so long what is wrong with the host tier is not said again.
const SILENCE: Duration = Duration::from_secs(600);

/// How often it is looked at whether the store is still the one by its name.
const LOOK: Duration = Duration::from_secs(1);

/// How many descriptors it takes to open the store, with some to spare.
const DESCRIPTORS: usize = 8;

/// After so long a process that could not open the host tier tries again.
const RETRY: Duration = Duration::from_secs(5);

/// The same if it waited in vain for a lock: those who come meanwhile must not wait for it
/// one after the other.
const RETRY_AFTER_WAIT: Duration = Duration::from_secs(1);

/// How long a read waits for other processes where the reader cannot wait: as long as the
/// lock is held at most by a process that runs.
const GLANCE: Duration = Duration::from_millis(1);

impl SessionCache {
    /// Sessions as configured. Opens nothing.
    pub fn new(config: SessionsConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            config,
            clock,
            opened: Mutex::new(Opened {
                tiers: None,
                retry: BootTime::from_millis(0),
                outage: None,
                without_host: None,
            }),
            complained: Mutex::new(None),
            was_replaced: AtomicBool::new(false),
            looked: AtomicU64::new(0),
            counting: Counting::default(),
            observes: false,
        }
    }

    /// The same for who only looks on: nothing of the host's is changed.
    pub fn read_only(config: SessionsConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            observes: true,
            ..Self::new(config, clock)
        }
    }

    /// The sessions, if this process has opened those of the host, and no writing is
    /// needed to go on with them. What is read from them waits for nothing that could
    /// take its time.
    pub fn opened<'s>(&'s self, log: &'s dyn Log) -> Option<SessionCacheHandle<'s>> {
        let tiers = self.opened.try_lock()?.tiers.clone()?;
        self.look_after(tiers.host.as_ref()?, self.clock.now());
        let is_current = !self.was_replaced.load(Ordering::Relaxed);
        is_current.then_some(SessionCacheHandle {
            sessions: self,
            tiers,
            log,
            patience: GLANCE,
        })
    }

    /// The sessions, for a login whose troubles are told to `log`.
    ///
    /// # Errors
    /// [`Reason::InternalError`] if there is no secret to be had;
    /// [`Reason::ProcessExhausted`] if there are no descriptors for the store, and
    /// [`Reason::SessionsUnreadable`] if there is a store that cannot be opened now.
    pub fn open<'s>(&'s self, log: &'s dyn Log) -> Result<SessionCacheHandle<'s>, Failure> {
        let mut opened = self.opened.lock();
        let now = self.clock.now();
        if let Some(host) = opened.tiers.as_ref().and_then(|tiers| tiers.host.as_ref()) {
            self.look_after(host, now);
        }
        if self.was_replaced.swap(false, Ordering::Relaxed) {
            // Let go of first: LMDB opens no store twice in a process.
            opened.tiers = None;
            opened.retry = now;
            opened.outage = None;
            self.counting.begin_anew();
            // That it is opened anew was said; if that fails, it is another trouble.
            *self.complained.lock() = None;
        }
        let has_host = opened
            .tiers
            .as_ref()
            .is_some_and(|tiers| tiers.host.is_some());
        if !has_host
            && now < opened.retry
            && let Some(outage) = &opened.outage
        {
            return Err(outage.clone());
        }
        if !has_host && now >= opened.retry {
            opened.outage = None;
            opened.retry = now.plus(RETRY);
            self.looked.store(now.as_millis(), Ordering::Relaxed);
            self.counting.try_again();
            // What a process remembered by itself is lost when it finds the
            // host tier after all, for its keys are others. That is a new
            // ticket for some, against refusals for all who come to it later.
            match self.open_host(log) {
                Ok(Some(host)) => {
                    let secret = *host.secret();
                    opened.tiers = Some(Arc::new(self.tiers(Some(host), &secret)));
                }
                // The store is there: to ask about tickets that it knows would be
                // to have them refused.
                Err(failure) if opened.tiers.is_none() => {
                    let waited = self.clock.now().since(now).unwrap_or_default();
                    opened.retry = if waited < PATIENCE {
                        now
                    } else {
                        opened.outage = Some(failure.clone());
                        self.clock.now().plus(RETRY_AFTER_WAIT)
                    };
                    return Err(failure);
                }
                Ok(None) if opened.tiers.is_none() => {
                    opened.tiers = Some(Arc::new(self.tiers(None, &Secret::random()?)));
                }
                _ => {}
            }
        }
        let nothing = || Failure::new(Reason::InternalError, "no sessions");
        let tiers = opened.tiers.clone().ok_or_else(nothing)?;
        Ok(self.access(tiers, log))
    }

    /// Sessions of this process alone, while those of the host cannot be opened: for what
    /// may be validated any number of times.
    ///
    /// # Errors
    /// [`Reason::InternalError`] if there is no secret to be had.
    pub fn open_without_host<'s>(
        &'s self,
        log: &'s dyn Log,
    ) -> Result<SessionCacheHandle<'s>, Failure> {
        let mut opened = self.opened.lock();
        let tiers = match &opened.without_host {
            Some(tiers) => Arc::clone(tiers),
            None => Arc::new(self.tiers(None, &Secret::random()?)),
        };
        opened.without_host = Some(Arc::clone(&tiers));
        Ok(self.access(tiers, log))
    }

    fn access<'s>(&'s self, tiers: Arc<Tiers>, log: &'s dyn Log) -> SessionCacheHandle<'s> {
        SessionCacheHandle {
            sessions: self,
            tiers,
            log,
            patience: PATIENCE,
        }
    }

    /// Whether the store was found to be no longer the one by its name: the next login
    /// opens that one.
    pub fn is_outdated(&self) -> bool {
        self.was_replaced.load(Ordering::Relaxed)
    }

    /// Looks whether the store is whole and, now and then, whether it is still the one
    /// by its name: in one that was removed nothing is ever flushed. A child that was
    /// forked opens it for itself; to close its parent's map touches nothing that is its
    /// parent's (`mdb_env_close0` in mdb.c).
    fn look_after(&self, host: &Host, now: BootTime) {
        if host.check_process().is_err() || !host.is_whole() {
            self.was_replaced.store(true, Ordering::Relaxed);
            return;
        }
        let last = BootTime::from_millis(self.looked.load(Ordering::Relaxed));
        if now.since(last).is_some_and(|age| age >= LOOK) {
            self.looked.store(now.as_millis(), Ordering::Relaxed);
            if !host.is_current() {
                self.was_replaced.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Counts one login, which came to `failure` or was accepted.
    pub fn count(
        &self,
        kind: Option<CredentialKind>,
        decider: Decider,
        failure: Option<Reason>,
        log: &dyn Log,
    ) {
        self.with_counters(log, |counters| counters.count(kind, decider, failure));
    }

    /// Counts, if there are counters.
    fn with_counters(&self, log: &dyn Log, count: impl Fn(&Counters)) {
        if self.observes {
            return;
        }
        // Where there is no store either, that was said.
        let is_known = || self.complained.lock().is_some();
        let directory = &self.config.state_dir;
        self.counting.count(directory, count, |trouble| {
            if !is_known() {
                let line = format!("sso: logins are not counted: {trouble}");
                log.write(Level::Warning, &line);
            }
        });
    }

    /// The host tier, or `None` if it is of no use.
    ///
    /// # Errors
    /// [`Reason::ProcessExhausted`] or [`Reason::SessionsUnreadable`] if there is a store
    /// whose sessions may be valid, and that may be over soon.
    fn open_host(&self, log: &dyn Log) -> Result<Option<Host>, Failure> {
        let SessionsConfig {
            state_dir,
            capacity,
        } = &self.config;
        let opened = match self.observes {
            true => lmdb::observer::open(state_dir, *capacity),
            false => Host::open(state_dir, *capacity).map(Some),
        };
        let host = match opened {
            Ok(host) => host,
            Err(_) if !descriptors::are_left(DESCRIPTORS) => {
                let what = "too few descriptors are left to open the store of sessions";
                return Err(Failure::new(Reason::ProcessExhausted, what));
            }
            Err(trouble) => {
                let is_outage = trouble.is_passing && lmdb::is_there(state_dir);
                let consequence = match is_outage {
                    true => Consequence::Outage,
                    false => Consequence::NotShared,
                };
                self.complain(&trouble, consequence, log);
                if is_outage {
                    return Err(Failure::new(Reason::SessionsUnreadable, trouble.line));
                }
                None
            }
        };
        if let Some(trouble) = host.as_ref().and_then(Host::mended) {
            let line = format!(
                "sso: all sessions are lost, and users will be asked for new tickets: {trouble}"
            );
            log.write(Level::Error, &line);
        }
        Ok(host)
    }

    fn tiers(&self, host: Option<Host>, secret: &[u8; Secret::LENGTH]) -> Tiers {
        Tiers {
            host,
            memory: Memory::new(self.config.capacity),
            secret: Secret::new(secret),
            // What an observer has found out is newer than what the host has.
            fell_back: AtomicBool::new(self.observes),
        }
    }

    /// Says what is wrong with the host tier: not with each login, but again to
    /// those who have come since.
    fn complain(&self, trouble: &StoreError, consequence: Consequence, log: &dyn Log) {
        let now = self.clock.now();
        let mut complained = self.complained.lock();
        let is_recent = |last: BootTime| now.since(last).is_some_and(|age| age < SILENCE);
        if complained.is_some_and(is_recent) {
            return;
        }
        *complained = Some(now);
        let line = match consequence {
            _ if self.observes => format!("what the host knows cannot be looked up: {trouble}"),
            Consequence::NotShared => format!(
                "sso: sessions are not shared between processes, and users will be asked \
                 for new tickets: {trouble}"
            ),
            Consequence::Outage => format!(
                "sso: sessions cannot be read, and tickets are not put to CAS until they \
                 can: {trouble}"
            ),
        };
        log.write(Level::Error, &line);
    }

    /// Where they are and how many, as configured.
    pub fn config(&self) -> &SessionsConfig {
        &self.config
    }
}

#[cfg(test)]
mod flush_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod seal_tests;
#[cfg(test)]
mod tests;
