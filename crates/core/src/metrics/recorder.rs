//! The counters as one process has them: opened with the first decision, and done
//! without where there are none to be had.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::counters::Counters;
use crate::state_dir;
use crate::state_dir::StoreError;

/// After so long it is tried again, and said again: a daemon lives for months.
const AGAIN: Duration = Duration::from_secs(600);

/// Whether this process counts.
#[derive(Default)]
pub(crate) struct Counting(RwLock<Counted>);

#[derive(Default)]
struct Counted {
    state: State,
    /// How often they were begun anew: what was opened before that may be removed.
    begun: u64,
}

#[derive(Default)]
enum State {
    #[default]
    NotYet,
    /// There was nothing to be had at that time; it is tried again when the store is, or
    /// after a while.
    Off(Instant),
    On(Counters),
}

impl State {
    fn is_due(&self) -> bool {
        match self {
            Self::NotYet => true,
            Self::Off(when) => when.elapsed() >= AGAIN,
            Self::On(_) => false,
        }
    }
}

impl Counting {
    /// Counts in the state directory, if it can be counted there; if it is found that it
    /// cannot, `complain` hears why. Nothing is waited for.
    pub(crate) fn count(
        &self,
        directory: &Path,
        count: impl Fn(&Counters),
        complain: impl FnOnce(StoreError),
    ) {
        let begun = {
            let counted = self.0.read();
            match &counted.state {
                State::On(counters) => return count(counters),
                state if !state.is_due() => return,
                _ => counted.begun,
            }
        };
        let opened = open(directory);
        let mut counted = self.0.write();
        if counted.begun == begun && counted.state.is_due() {
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

    /// If there were no counters to be had: there may be some now.
    pub(crate) fn try_again(&self) {
        let state = &mut self.0.write().state;
        if matches!(state, State::Off(_)) {
            *state = State::NotYet;
        }
    }

    /// The counters may have been removed, as the store was.
    pub(crate) fn begin_anew(&self) {
        let mut counted = self.0.write();
        counted.state = State::NotYet;
        counted.begun += 1;
    }
}

fn open(directory: &Path) -> Result<Counters, StoreError> {
    state_dir::prepare(directory)?;
    Counters::open_or_make(directory).map_err(|error| {
        let remedy = "remove it while the mail server is stopped; it is made anew";
        state_dir::trouble(directory, &error, remedy)
    })
}
