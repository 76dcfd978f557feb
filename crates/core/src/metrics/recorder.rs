//! The counters as one process uses them: they are opened with the first login, and the process
//! does without them if they cannot be opened.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::counters::Counters;
use crate::state_dir;
use crate::state_dir::StoreError;

/// The interval between attempts to open the counters, and between log lines about failures: a
/// daemon lives for months.
const RETRY_INTERVAL: Duration = Duration::from_secs(600);

/// Whether this process counts.
#[derive(Default)]
pub(crate) struct MetricsRecorder(RwLock<OpenCounters>);

#[derive(Default)]
struct OpenCounters {
    state: State,
    /// How many times the counters were reopened: earlier files may have been removed.
    reopened: u64,
}

#[derive(Default)]
enum State {
    #[default]
    NotYet,
    /// The counters could not be opened at that time.
    Off(Instant),
    On(Counters),
}

impl State {
    fn is_due(&self) -> bool {
        match self {
            Self::NotYet => true,
            Self::Off(when) => when.elapsed() >= RETRY_INTERVAL,
            Self::On(_) => false,
        }
    }
}

impl MetricsRecorder {
    /// Counts in the state directory. If that becomes impossible, `complain` receives the reason.
    /// It does not wait.
    pub(crate) fn count(
        &self,
        directory: &Path,
        count: impl Fn(&Counters),
        complain: impl FnOnce(StoreError),
    ) {
        let reopened = {
            let counted = self.0.read();
            match &counted.state {
                State::On(counters) => return count(counters),
                state if !state.is_due() => return,
                _ => counted.reopened,
            }
        };
        let opened = open(directory);
        let mut counted = self.0.write();
        if counted.reopened == reopened && counted.state.is_due() {
            counted.state = match opened {
                Ok(counters) => State::On(counters),
                Err(trouble) => {
                    complain(trouble);
                    State::Off(Instant::now())
                }
            };
        }
        if let State::On(counters) = &counted.state {
            count(counters);
        }
    }

    /// Tries to open the counters again, if they could not be opened.
    pub(crate) fn retry(&self) {
        let state = &mut self.0.write().state;
        if matches!(state, State::Off(_)) {
            *state = State::NotYet;
        }
    }

    /// Reopens the counters, because the session cache was removed, and they may have been too.
    pub(crate) fn reopen(&self) {
        let mut counted = self.0.write();
        counted.state = State::NotYet;
        counted.reopened += 1;
    }
}

fn open(directory: &Path) -> Result<Counters, StoreError> {
    state_dir::prepare(directory)?;
    Counters::open_or_create(directory).map_err(|error| {
        let remedy = "remove it while the mail server is stopped; it is made anew";
        state_dir::trouble(directory, &error, remedy)
    })
}
