//! What the models share: who decides on the order of things, a clock, and a CAS.
//!
//! The library is as it is shipped but for its locks, which are shuttle's (`parking_lot/`): each
//! time that a thread takes or gives back one, shuttle decides who goes on. Between two locks a thread
//! is alone, so what LMDB, the kernel's locks and atomic variables do is one step here; they are
//! tried by real processes in the library's own tests.

// What fails here fails a test.
#![allow(clippy::expect_used)]
#![forbid(unsafe_code)]

pub mod cas;
pub mod schedules;
pub mod site;

use sso_core::config::{Config, Options};
use sso_core::platform::clock::{BootTime, Clock, WallTime};
use sso_core::platform::log::{Level, Log};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A clock that stands still until it is told to go on.
#[derive(Default)]
pub struct StandingClock(AtomicU64);

impl StandingClock {
    /// So much later.
    pub fn advance(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).expect("a short time");
        self.0.fetch_add(time, Ordering::SeqCst);
    }
}

impl Clock for StandingClock {
    fn now(&self) -> BootTime {
        BootTime::from_millis(1_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        WallTime::from_millis(1_790_000_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// A log that is kept. Its lock is none of those that are looked at.
#[derive(Default)]
pub struct Kept(Mutex<Vec<String>>);

impl Kept {
    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Log for Kept {
    fn write(&self, _level: Level, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.to_owned());
    }
}

struct Given(Vec<(&'static str, String)>);

impl Options for Given {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }
}

/// A configuration with a CAS and this state directory.
pub fn config(cas: &str, state: &Path) -> Config {
    let options = Given(vec![
        ("caspt_url", cas.to_owned()),
        ("caspt_proxies", cas::PROXY.to_owned()),
        ("caspt_timeout", "60".to_owned()),
        ("sso_sessions", "100".to_owned()),
        ("sso_state_dir", state.display().to_string()),
    ]);
    Config::read(&options).expect("a configuration without fault")
}
