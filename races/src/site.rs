//! The sessions of a process, and its threads.

use crate::{Kept, StandingClock};
use shuttle::thread;
use sso_core::config::SessionsConfig;
use sso_core::session_cache::{SessionCache, SessionCacheHandle};
use std::path::Path;
use std::sync::Arc;

/// Sessions, their clock and what they say.
pub struct Site {
    pub clock: Arc<StandingClock>,
    pub sessions: SessionCache,
    pub log: Kept,
}

impl Site {
    /// Those of this state directory, not yet opened.
    pub fn new(state_dir: &Path) -> Arc<Self> {
        let clock = Arc::new(StandingClock::default());
        let config = SessionsConfig {
            state_dir: state_dir.to_owned(),
            capacity: 100,
        };
        Arc::new(Self {
            sessions: SessionCache::new(config, Arc::clone(&clock) as _),
            clock,
            log: Kept::default(),
        })
    }

    /// One whose sessions are this process's own.
    pub fn without_a_store() -> Arc<Self> {
        Self::new(Path::new("/dev/null/state"))
    }

    /// As a login opens them.
    pub fn open(&self) -> SessionCacheHandle<'_> {
        self.sessions.open(&self.log).expect("sessions")
    }
}

/// Does the same in several threads at once; what each came to.
pub fn at_once<T: Send + 'static>(
    site: &Arc<Site>,
    threads: usize,
    what: impl Fn(&Site) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let what = Arc::new(what);
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (site, what) = (Arc::clone(site), Arc::clone(&what));
            thread::spawn(move || what(&site))
        })
        .collect();
    let done = threads
        .into_iter()
        .map(|thread| thread.join().expect("a thread"));
    done.collect()
}
