//! The session cache: a credential that was validated once stays valid in all processes of the host
//! until its session ends.
//!
//! The host tier (LMDB) is used first. What it cannot store or answer, the memory tier of the
//! process does, and the log says why.
//!
//! - `handle` is the interface for logins, `admin` the one for administrators.
//! - `entry` and `cache_key` are what is stored; `backend` is the interface of `lmdb` and
//!   `memory_lru`, between which `tiers` decides.
//! - `flush_log` ends sessions. `rate_limit` and `circuit_breaker` protect the CAS server.

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
use crate::metrics::recorder::MetricsRecorder;
use crate::metrics::{Counters, Decider};
use crate::platform::clock::{BootTime, Clock};
use crate::platform::descriptors;
use crate::platform::log::{Level, Log};
use crate::state_dir::StoreError;
use lmdb::LmdbBackend;
use lmdb::locked_env::LOCK_TIMEOUT;
use memory_lru::MemoryBackend;

/// The tier that contained an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The memory of this process.
    Memory,
    /// The cache that all processes share.
    Host,
}

/// The session cache of this process and its host.
pub struct SessionCache {
    config: SessionsConfig,
    clock: Arc<dyn Clock>,
    opened: Mutex<Opened>,
    /// When a problem of the host tier was last logged.
    last_complaint: Mutex<Option<BootTime>>,
    /// Whether the shared cache was found to have been replaced.
    was_replaced: AtomicBool,
    /// When that was last checked, in milliseconds since boot.
    last_check: AtomicU64,
    metrics: MetricsRecorder,
    /// Whether the shared cache is only read: new entries stay in memory.
    is_read_only: bool,
}

/// What the first credential opens: most programs that load the plugin never receive one.
struct Opened {
    tiers: Option<Arc<Tiers>>,
    /// When to try to open the host tier again.
    retry: BootTime,
    /// Why the host tier is unreadable until then.
    outage: Option<Failure>,
    /// The memory tier for what can do without the host tier meanwhile.
    without_host: Option<Arc<Tiers>>,
}

/// The consequence of a problem with the host tier.
#[derive(Clone, Copy)]
pub(crate) enum Consequence {
    /// Each process has sessions of its own.
    NotShared,
    /// Logins with tickets fail, because it is unknown whether their tickets have sessions.
    Outage,
}

pub(crate) struct Tiers {
    host: Option<LmdbBackend>,
    memory: MemoryBackend,
    secret: Secret,
    /// Whether something was written to memory because the host tier did not take it.
    fell_back: AtomicBool,
}

/// The minimum interval between log lines about the same problem of the host tier.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(600);

/// How often to check whether the shared cache was replaced.
const REPLACEMENT_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The number of descriptors that must be free for opening the shared cache, with a margin.
const MIN_FREE_DESCRIPTORS: usize = 8;

/// How long a process that could not open the host tier waits before it tries again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The same after waiting for a lock in vain, so that logins do not wait for it one after the
/// other.
const RETRY_INTERVAL_AFTER_WAIT: Duration = Duration::from_secs(1);

/// How long a read waits for other processes if the reader cannot wait: at most as long as a
/// running process holds the lock.
const MAX_READ_WAIT: Duration = Duration::from_millis(1);

impl SessionCache {
    /// Creates a session cache. Nothing is opened.
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
            last_complaint: Mutex::new(None),
            was_replaced: AtomicBool::new(false),
            last_check: AtomicU64::new(0),
            metrics: MetricsRecorder::default(),
            is_read_only: false,
        }
    }

    /// Creates a session cache that changes nothing on the host.
    pub fn read_only(config: SessionsConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            is_read_only: true,
            ..Self::new(config, clock)
        }
    }

    /// The cache, if it is open and usable without writing. Reads do not wait.
    pub fn opened<'s>(&'s self, log: &'s dyn Log) -> Option<SessionCacheHandle<'s>> {
        let tiers = self.opened.try_lock()?.tiers.clone()?;
        self.check_replacement(tiers.host.as_ref()?, self.clock.now());
        let is_current = !self.was_replaced.load(Ordering::Relaxed);
        is_current.then_some(SessionCacheHandle {
            sessions: self,
            tiers,
            log,
            patience: MAX_READ_WAIT,
        })
    }

    /// The cache, for a login that logs problems to `log`.
    ///
    /// # Errors
    /// [`Reason::InternalError`] without random bytes for a secret; [`Reason::ProcessExhausted`]
    /// without descriptors; [`Reason::SessionsUnreadable`] if the shared cache exists and cannot be
    /// opened now.
    pub fn open<'s>(&'s self, log: &'s dyn Log) -> Result<SessionCacheHandle<'s>, Failure> {
        let mut opened = self.opened.lock();
        let now = self.clock.now();
        if let Some(host) = opened.tiers.as_ref().and_then(|tiers| tiers.host.as_ref()) {
            self.check_replacement(host, now);
        }
        if self.was_replaced.swap(false, Ordering::Relaxed) {
            // The old cache is closed first: LMDB must not open a file twice in a process.
            opened.tiers = None;
            opened.retry = now;
            opened.outage = None;
            self.metrics.reopen();
            // That the cache is opened again was logged. A failure is another problem.
            *self.last_complaint.lock() = None;
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
            opened.retry = now.plus(RETRY_INTERVAL);
            self.last_check.store(now.as_millis(), Ordering::Relaxed);
            self.metrics.retry();
            // The entries of this process's memory are lost when it opens the host tier after all,
            // because their keys are different. A new ticket for some users is better than refusals
            // for all that come later.
            match self.open_host(log) {
                Ok(Some(host)) => {
                    let secret = *host.secret();
                    opened.tiers = Some(Arc::new(self.tiers(Some(host), &secret)));
                }
                // The shared cache exists: CAS would refuse tickets that have a session in it.
                Err(failure) if opened.tiers.is_none() => {
                    let waited = self.clock.now().since(now).unwrap_or_default();
                    opened.retry = if waited < LOCK_TIMEOUT {
                        now
                    } else {
                        opened.outage = Some(failure.clone());
                        self.clock.now().plus(RETRY_INTERVAL_AFTER_WAIT)
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

    /// The memory tier of this process, while the host tier cannot be opened: for credentials that
    /// can be validated any number of times.
    ///
    /// # Errors
    /// [`Reason::InternalError`] without random bytes for a secret.
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
            patience: LOCK_TIMEOUT,
        }
    }

    /// Whether the shared cache was found to have been replaced. The next login opens the new one.
    pub fn is_outdated(&self) -> bool {
        self.was_replaced.load(Ordering::Relaxed)
    }

    /// Checks whether the file of the shared cache is complete and, at intervals, whether it was
    /// replaced: a cache that was removed receives no flush. A child that was forked opens it
    /// again; closing the parent's map does not affect the parent (`mdb_env_close0` in mdb.c).
    fn check_replacement(&self, host: &LmdbBackend, now: BootTime) {
        if host.check_process().is_err() || !host.is_complete() {
            self.was_replaced.store(true, Ordering::Relaxed);
            return;
        }
        let last = BootTime::from_millis(self.last_check.load(Ordering::Relaxed));
        if now
            .since(last)
            .is_some_and(|age| age >= REPLACEMENT_CHECK_INTERVAL)
        {
            self.last_check.store(now.as_millis(), Ordering::Relaxed);
            if !host.is_current() {
                self.was_replaced.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Counts one login, with its failure if it failed.
    pub fn count(
        &self,
        kind: Option<CredentialKind>,
        decider: Decider,
        failure: Option<Reason>,
        log: &dyn Log,
    ) {
        self.with_counters(log, |counters| counters.count(kind, decider, failure));
    }

    /// Updates the counters, if there are any.
    fn with_counters(&self, log: &dyn Log, count: impl Fn(&Counters)) {
        if self.is_read_only {
            return;
        }
        // If the cache cannot be used either, that was logged.
        let is_known = || self.last_complaint.lock().is_some();
        let directory = &self.config.state_dir;
        self.metrics.count(directory, count, |trouble| {
            if !is_known() {
                let line = format!("sso: logins are not counted: {trouble}");
                log.write(Level::Warning, &line);
            }
        });
    }

    /// Opens the host tier; `None` if it cannot be used.
    ///
    /// # Errors
    /// [`Reason::ProcessExhausted`] or [`Reason::SessionsUnreadable`] if the shared cache exists,
    /// its sessions may be valid, and the problem may end soon.
    fn open_host(&self, log: &dyn Log) -> Result<Option<LmdbBackend>, Failure> {
        let SessionsConfig {
            state_dir,
            capacity,
        } = &self.config;
        let opened = match self.is_read_only {
            true => lmdb::observer::open(state_dir, *capacity),
            false => LmdbBackend::open(state_dir, *capacity).map(Some),
        };
        let host = match opened {
            Ok(host) => host,
            Err(_) if !descriptors::are_left(MIN_FREE_DESCRIPTORS) => {
                let what = "too few descriptors are left to open the store of sessions";
                return Err(Failure::new(Reason::ProcessExhausted, what));
            }
            Err(trouble) => {
                let is_outage = trouble.is_passing && lmdb::exists(state_dir);
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
        if let Some(trouble) = host.as_ref().and_then(LmdbBackend::replaced_because) {
            let line = format!(
                "sso: all sessions are lost, and users will be asked for new tickets: {trouble}"
            );
            log.write(Level::Error, &line);
        }
        Ok(host)
    }

    fn tiers(&self, host: Option<LmdbBackend>, secret: &[u8; Secret::LENGTH]) -> Tiers {
        Tiers {
            host,
            memory: MemoryBackend::new(self.config.capacity),
            secret: Secret::new(secret),
            // A read-only cache has newer entries in memory than the host tier.
            fell_back: AtomicBool::new(self.is_read_only),
        }
    }

    /// Logs a problem of the host tier, at intervals.
    fn complain(&self, trouble: &StoreError, consequence: Consequence, log: &dyn Log) {
        let now = self.clock.now();
        let mut last_complaint = self.last_complaint.lock();
        let is_recent =
            |last: BootTime| now.since(last).is_some_and(|age| age < COMPLAINT_INTERVAL);
        if last_complaint.is_some_and(is_recent) {
            return;
        }
        *last_complaint = Some(now);
        let line = match consequence {
            _ if self.is_read_only => {
                format!("what the host knows cannot be last_check up: {trouble}")
            }
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

    /// The location and the size.
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
