//! Counts logins over all processes of the host.
//!
//! The counters are in a small file beside the session cache, which all processes map and add to:
//! nobody waits, nothing is lost if a process is killed, and a login costs one addition. If the
//! file cannot be created, logins are not counted, but none fails.
//!
//! The name of the file contains the boot and the layout: builds with other reasons or buckets have
//! another file.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::histogram::{BUCKETS, DurationHistogram, bucket};
use crate::credential::CredentialKind;
use crate::error::Reason;
use crate::session_cache::cache_key::digest;
use crate::state_dir::boot_file::boot_suffix;
use crate::state_dir::shared_memory::SharedCounters;

/// The version of the layout, for changes that the list of reasons does not show.
const LAYOUT: u32 = 1;

/// Where the result of a login comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The memory tier of a process.
    Memory,
    /// The host tier.
    Host,
    /// A validation.
    Validation,
    /// Nowhere: the credential was not examined.
    Nobody,
}

impl Decider {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Host, Self::Validation, Self::Nobody];

    /// The word in the log, which has none for the last.
    pub fn code(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Host => "host",
            Self::Validation => "validated",
            Self::Nobody => "none",
        }
    }
}

/// The kinds of credentials, and `None` for logins without a readable one.
pub const CREDENTIALS: [Option<CredentialKind>; 3] = [
    Some(CredentialKind::Ticket),
    Some(CredentialKind::Token),
    None,
];

/// The number of results: accepted, and each reason.
const OUTCOMES: usize = 1 + Reason::ALL.len();

const DECISIONS: usize = CREDENTIALS.len() * Decider::ALL.len() * OUTCOMES;
const LATENCIES: usize = 2 * (BUCKETS + 1);
const NUMBERS: usize = DECISIONS + LATENCIES + 1;

/// The index of the first duration.
const LATENCIES_INDEX: usize = DECISIONS;
/// The index of the number of evicted sessions.
const EVICTED_INDEX: usize = DECISIONS + LATENCIES;

/// The counters of the host.
pub struct Counters(SharedCounters);

impl Counters {
    /// Opens the counters of the state directory, and creates them if they are missing.
    ///
    /// # Errors
    /// Why they cannot be created.
    pub fn open_or_create(directory: &Path) -> io::Result<Self> {
        SharedCounters::open_or_create(&path(directory)?, NUMBERS).map(Self)
    }

    /// Opens existing counters of the state directory.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        SharedCounters::open(&path(directory)?, NUMBERS).map(Self)
    }

    /// Counts one login.
    pub fn count(&self, kind: Option<CredentialKind>, decider: Decider, failure: Option<Reason>) {
        self.0[place(kind, decider, failure)].fetch_add(1, Relaxed);
    }

    /// Counts one validation and its duration.
    pub fn count_validation(&self, kind: CredentialKind, took: Duration) {
        let first = of_latency(kind);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[first + bucket(took)].fetch_add(1, Relaxed);
        self.0[first + BUCKETS].fetch_add(nanos, Relaxed);
    }

    pub(crate) fn count_evicted(&self, count: u64) {
        self.0[EVICTED_INDEX].fetch_add(count, Relaxed);
    }

    /// The number of logins with this result.
    pub fn logins(
        &self,
        kind: Option<CredentialKind>,
        decider: Decider,
        failure: Option<Reason>,
    ) -> u64 {
        self.0[place(kind, decider, failure)].load(Relaxed)
    }

    /// The durations of validations of credentials of `kind`.
    pub fn validations(&self, kind: CredentialKind) -> DurationHistogram {
        let first = of_latency(kind);
        DurationHistogram {
            counts: std::array::from_fn(|bucket| self.0[first + bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.0[first + BUCKETS].load(Relaxed)),
        }
    }

    /// The number of evicted sessions.
    pub fn evicted(&self) -> u64 {
        self.0[EVICTED_INDEX].load(Relaxed)
    }
}

fn place(kind: Option<CredentialKind>, decider: Decider, failure: Option<Reason>) -> usize {
    let kind = match kind {
        Some(CredentialKind::Ticket) => 0,
        Some(CredentialKind::Token) => 1,
        None => 2,
    };
    let outcome = failure.map_or(0, |reason| 1 + reason as usize);
    (kind * Decider::ALL.len() + decider as usize) * OUTCOMES + outcome
}

fn of_latency(kind: CredentialKind) -> usize {
    let kind = match kind {
        CredentialKind::Ticket => 0,
        CredentialKind::Token => 1,
    };
    LATENCIES_INDEX + kind * (BUCKETS + 1)
}

/// The path of the counters of this boot and layout.
fn path(directory: &Path) -> io::Result<PathBuf> {
    let unknown = || io::Error::other("the boot cannot be told from others");
    let boot = boot_suffix().ok_or_else(unknown)?;
    Ok(directory.join(format!("counters-{}{boot}", layout())))
}

/// The part of the name for the layout, which changes with the list of reasons.
fn layout() -> String {
    let mut words = format!("{LAYOUT} {NUMBERS}");
    for reason in Reason::ALL {
        words.push(' ');
        words.push_str(reason.code());
    }
    let mut name = String::new();
    for byte in &digest(&words)[..4] {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_result_has_a_counter() {
        let mut places = BTreeSet::new();
        let failures = Reason::ALL.iter().copied().map(Some).chain([None]);
        for failure in failures {
            for kind in CREDENTIALS {
                for decider in Decider::ALL {
                    places.insert(place(kind, decider, failure));
                }
            }
        }
        assert_eq!(places.len(), DECISIONS);
        assert_eq!(places.last(), Some(&(DECISIONS - 1)));
    }

    #[test]
    fn counts_are_read_as_written() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Counters::open(directory.path()).is_err());
        let counters = Counters::open_or_create(directory.path()).unwrap();
        let refused = Some(Reason::TicketRefused);
        counters.count(Some(CredentialKind::Ticket), Decider::Host, None);
        counters.count(Some(CredentialKind::Ticket), Decider::Validation, refused);
        counters.count_validation(CredentialKind::Token, Duration::from_micros(40));
        counters.count_evicted(3);
        let counters = Counters::open(directory.path()).unwrap();
        assert_eq!(
            counters.logins(Some(CredentialKind::Ticket), Decider::Host, None),
            1
        );
        let refusals = counters.logins(Some(CredentialKind::Ticket), Decider::Validation, refused);
        assert_eq!(refusals, 1);
        let validations = counters.validations(CredentialKind::Token);
        assert_eq!((validations.count(), validations.sum.as_micros()), (1, 40));
        assert_eq!(counters.validations(CredentialKind::Ticket).count(), 0);
        assert_eq!(counters.evicted(), 3);
    }
}
