//! What a run came to.

use super::ledger::Event;
use super::login::Loss;
use crate::harness::https_server::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Logins of one sort.
#[derive(Clone, Copy, Default)]
struct Sort {
    tried: usize,
    let_in: usize,
    refused: usize,
    explained: usize,
}

#[derive(Default)]
struct Counts {
    sorts: BTreeMap<String, Sort>,
    /// By what was presented, how it failed, and what explains that.
    explained: BTreeMap<(String, String), usize>,
    /// What must not be: all in number, some in words.
    wrongs: usize,
    wrong: Vec<String>,
}

/// The figures of all connections together.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

/// So many are told with what the log had.
const ACCOUNTS: usize = 20;
/// So many are told.
const TOLD: usize = 100;

impl Tally {
    pub fn tried(&self, what: &str) {
        self.count(what, |sort| sort.tried += 1);
    }

    pub fn let_in(&self, what: &str) {
        self.count(what, |sort| sort.let_in += 1);
    }

    pub fn refused(&self, what: &str) {
        self.count(what, |sort| sort.refused += 1);
    }

    /// A failure that an outage explains.
    pub fn explained(&self, what: &str, loss: Loss, event: &Event) {
        self.count(what, |sort| sort.explained += 1);
        let key = (event.to_string(), format!("{what}: {loss:?}"));
        *lock(&self.0).explained.entry(key).or_default() += 1;
    }

    /// What must not be.
    pub fn wrong(&self, what: String, log: String) {
        let mut counts = lock(&self.0);
        counts.wrongs += 1;
        if counts.wrongs <= ACCOUNTS {
            counts.wrong.push(format!("{what}\n{log}"));
        } else if counts.wrongs <= TOLD {
            counts.wrong.push(what);
        }
    }

    /// How many logins were tried.
    pub fn all(&self) -> usize {
        lock(&self.0).sorts.values().map(|sort| sort.tried).sum()
    }

    /// Nothing was that must not be.
    pub fn assert_all_right(&self) {
        let counts = lock(&self.0);
        let (number, told) = (counts.wrongs, counts.wrong.join("\n\n"));
        assert!(number == 0, "{number} of what must not be\n\n{told}");
    }

    /// A table of them all.
    pub fn table(&self) -> String {
        let counts = lock(&self.0);
        let mut text = format!(
            "{:32} {:>8} {:>8} {:>8} {:>8}\n",
            "presented", "tried", "let in", "refused", "outage"
        );
        let mut all = Sort::default();
        let mut row = |name: &str, sort: &Sort| {
            text += &format!(
                "{name:32} {:>8} {:>8} {:>8} {:>8}\n",
                sort.tried, sort.let_in, sort.refused, sort.explained
            );
        };
        for (name, sort) in &counts.sorts {
            row(name, sort);
            all.tried += sort.tried;
            all.let_in += sort.let_in;
            all.refused += sort.refused;
            all.explained += sort.explained;
        }
        row("all", &all);
        text += "\nfailed, by what explains it\n";
        for ((event, what), number) in &counts.explained {
            text += &format!("{event:24} {what:40} {number:>6}\n");
        }
        text + &format!("what must not be {:>56}\n", counts.wrongs)
    }

    fn count(&self, what: &str, add: impl FnOnce(&mut Sort)) {
        add(lock(&self.0).sorts.entry(what.to_owned()).or_default());
    }
}
