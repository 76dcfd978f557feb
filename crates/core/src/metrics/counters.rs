//! What was decided, counted over all processes of the host.
//!
//! A small file beside the store has the counters, and every process adds to them in
//! memory that it shares with the others: nobody waits, nothing is lost if a process is
//! killed, and a login costs one addition. If there is no such file to be had, logins
//! are not counted; no login fails for that.
//!
//! The file is one per boot and layout, which is in its name: builds that have other
//! reasons or buckets count for themselves.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::histogram::{BUCKETS, Durations, bucket};
use crate::credential::CredentialKind;
use crate::error::Reason;
use crate::session_cache::cache_key::digest;
use crate::state_dir::boot_file::boot_suffix;
use crate::state_dir::shared_memory::Numbers;

/// The number of the file's layout, for changes that the reasons do not show.
const LAYOUT: u32 = 1;

/// What decided on a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// This process's own memory.
    Memory,
    /// The store that all processes share.
    Host,
    /// The SSO server, or its keys.
    Validation,
    /// Nothing: it came to no decision on a credential.
    Nobody,
}

impl Decider {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Host, Self::Validation, Self::Nobody];

    /// The word for it in the log; nothing stands there for nobody.
    pub fn code(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Host => "host",
            Self::Validation => "validated",
            Self::Nobody => "none",
        }
    }
}

/// The kinds of credentials, and last the lack of one that could be read.
pub const CREDENTIALS: [Option<CredentialKind>; 3] = [
    Some(CredentialKind::Ticket),
    Some(CredentialKind::Token),
    None,
];

/// Accepted, or one of the reasons.
const OUTCOMES: usize = 1 + Reason::ALL.len();

const DECISIONS: usize = CREDENTIALS.len() * Decider::ALL.len() * OUTCOMES;
const LATENCIES: usize = 2 * (BUCKETS + 1);
const NUMBERS: usize = DECISIONS + LATENCIES + 1;

/// Where durations of validations begin.
const OF_LATENCIES: usize = DECISIONS;
/// Where it is counted how many sessions had to make room for others.
const OF_EVICTED: usize = DECISIONS + LATENCIES;

/// The counters of the host.
pub struct Counters(Numbers);

impl Counters {
    /// Those of the state directory, which are made if they are not there.
    ///
    /// # Errors
    /// Why there are none to be had.
    pub fn open_or_make(directory: &Path) -> io::Result<Self> {
        Numbers::open_or_make(&path(directory)?, NUMBERS).map(Self)
    }

    /// Those of the state directory, if there are any.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Numbers::open(&path(directory)?, NUMBERS).map(Self)
    }

    /// Counts one login.
    pub fn count(&self, kind: Option<CredentialKind>, decider: Decider, failure: Option<Reason>) {
        self.0[place(kind, decider, failure)].fetch_add(1, Relaxed);
    }

    /// Counts one question to an SSO server, or one token that was verified.
    pub fn count_validation(&self, kind: CredentialKind, took: Duration) {
        let first = of_latency(kind);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0[first + bucket(took)].fetch_add(1, Relaxed);
        self.0[first + BUCKETS].fetch_add(nanos, Relaxed);
    }

    pub(crate) fn count_evicted(&self, count: u64) {
        self.0[OF_EVICTED].fetch_add(count, Relaxed);
    }

    /// How many logins were decided on in this way.
    pub fn logins(
        &self,
        kind: Option<CredentialKind>,
        decider: Decider,
        failure: Option<Reason>,
    ) -> u64 {
        self.0[place(kind, decider, failure)].load(Relaxed)
    }

    /// How long validations of credentials of `kind` took.
    pub fn validations(&self, kind: CredentialKind) -> Durations {
        let first = of_latency(kind);
        Durations {
            counts: std::array::from_fn(|bucket| self.0[first + bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.0[first + BUCKETS].load(Relaxed)),
        }
    }

    /// How many sessions had to make room for others.
    pub fn evicted(&self) -> u64 {
        self.0[OF_EVICTED].load(Relaxed)
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
    OF_LATENCIES + kind * (BUCKETS + 1)
}

/// Where the counters of this boot and layout are.
fn path(directory: &Path) -> io::Result<PathBuf> {
    let unknown = || io::Error::other("the boot cannot be told from others");
    let boot = boot_suffix().ok_or_else(unknown)?;
    Ok(directory.join(format!("counters-{}{boot}", layout())))
}

/// What stands for the layout: it is another one if there is another reason.
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
    fn every_way_to_decide_has_a_counter_of_its_own() {
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
    fn what_is_counted_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Counters::open(directory.path()).is_err());
        let counters = Counters::open_or_make(directory.path()).unwrap();
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
