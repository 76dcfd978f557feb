//! Counts the logins of a run and collects violations.

use super::ledger::Event;
use super::login::Failure;
use std::collections::BTreeMap;
use std::sync::Mutex;
use test_support::https_server::lock;

/// Counts of one kind of login.
#[derive(Clone, Copy, Default)]
struct KindCounts {
    tried: usize,
    accepted: usize,
    refused: usize,
    explained: usize,
}

#[derive(Default)]
struct Counts {
    kinds: BTreeMap<String, KindCounts>,
    /// Explained failures by event, credential and kind of failure.
    explained: BTreeMap<(String, String), usize>,
    /// Number of violations, and the messages of the first ones.
    violation_count: usize,
    violation: Vec<String>,
}

/// The counts of all connections.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

/// Maximum number of violations reported with log lines.
const MAX_VIOLATIONS_WITH_LOG: usize = 20;
/// Maximum number of violations reported.
const MAX_VIOLATIONS: usize = 100;

impl Tally {
    pub fn tried(&self, what: &str) {
        self.count(what, |counts| counts.tried += 1);
    }

    pub fn accepted(&self, what: &str) {
        self.count(what, |counts| counts.accepted += 1);
    }

    pub fn refused(&self, what: &str) {
        self.count(what, |counts| counts.refused += 1);
    }

    /// Counts a failure that an outage explains.
    pub fn explained(&self, what: &str, failure: Failure, event: &Event) {
        self.count(what, |counts| counts.explained += 1);
        let key = (event.to_string(), format!("{what}: {failure:?}"));
        *lock(&self.0).explained.entry(key).or_default() += 1;
    }

    /// Records a violation.
    pub fn violation(&self, what: String, log: String) {
        let mut counts = lock(&self.0);
        counts.violation_count += 1;
        if counts.violation_count <= MAX_VIOLATIONS_WITH_LOG {
            counts.violation.push(format!("{what}\n{log}"));
        } else if counts.violation_count <= MAX_VIOLATIONS {
            counts.violation.push(what);
        }
    }

    /// Returns the number of logins.
    pub fn all(&self) -> usize {
        lock(&self.0)
            .kinds
            .values()
            .map(|counts| counts.tried)
            .sum()
    }

    /// Panics if there was a violation.
    pub fn assert_no_violations(&self) {
        let counts = lock(&self.0);
        let (number, messages) = (counts.violation_count, counts.violation.join("\n\n"));
        assert!(number == 0, "{number} violations\n\n{messages}");
    }

    /// Formats the counts as a table.
    pub fn table(&self) -> String {
        let counts = lock(&self.0);
        let mut text = format!(
            "{:32} {:>8} {:>8} {:>8} {:>8}\n",
            "presented", "tried", "accepted", "refused", "outage"
        );
        let mut all = KindCounts::default();
        let mut row = |name: &str, counts: &KindCounts| {
            text += &format!(
                "{name:32} {:>8} {:>8} {:>8} {:>8}\n",
                counts.tried, counts.accepted, counts.refused, counts.explained
            );
        };
        for (name, counts) in &counts.kinds {
            row(name, counts);
            all.tried += counts.tried;
            all.accepted += counts.accepted;
            all.refused += counts.refused;
            all.explained += counts.explained;
        }
        row("all", &all);
        text += "\nfailures by the event that explains them\n";
        for ((event, what), number) in &counts.explained {
            text += &format!("{event:24} {what:40} {number:>6}\n");
        }
        text + &format!("violations {:>62}\n", counts.violation_count)
    }

    fn count(&self, what: &str, add: impl FnOnce(&mut KindCounts)) {
        add(lock(&self.0).kinds.entry(what.to_owned()).or_default());
    }
}
