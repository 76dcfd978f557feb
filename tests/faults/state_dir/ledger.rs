//! A record of what happened to each ticket, as its clients saw it, with checks of its consistency.

use crate::state_dir::site::{Site, complaints, source};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{self, Driver, caspt, code};

/// Lifetime of a negative entry.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// Maximum number of negative entries.
const MAX_NEGATIVE_ENTRIES: usize = 10_000;

/// What happened to one ticket.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// The ticket.
    pub ticket: String,
    /// Its user; `None` for a forged ticket.
    pub user: Option<String>,
    /// When the first login with it began.
    pub first_begun: Option<Instant>,
    /// Number of accepted logins.
    pub accepted: usize,
    /// Number of refused logins.
    pub refused: usize,
    /// Number of logins of both kinds that were validated by CAS rather than found in the cache.
    pub validated: usize,
    /// Number of logins that ended because their process was killed.
    pub killed: usize,
    /// Number of logins whose result could not be written to the host tier, because another process
    /// had held the store's lock for a second on a busy machine; the log reports it.
    pub alone: usize,
}

impl Fate {
    /// Whether other processes may not have learned the result of one of its logins.
    pub fn is_interrupted(&self) -> bool {
        self.killed + self.alone > 0
    }
}

/// The record of all tickets.
pub struct Ledger {
    /// Part of the name of each ticket.
    name: String,
    /// Number of users that the tickets are distributed over.
    users: usize,
    fates: Mutex<Vec<Fate>>,
    /// Number of logins by source and reason.
    ends: Mutex<BTreeMap<(String, String), u64>>,
}

/// How a login ended for its client.
pub enum End {
    Answered(libsasl2::Answer),
    Killed,
}

impl End {
    /// Whether the process could not write to the host tier. It reports that once in ten minutes,
    /// so it cannot be observed any longer.
    pub fn is_alone(&self) -> bool {
        match self {
            Self::Answered(answer) => is_alone(answer),
            Self::Killed => false,
        }
    }
}

/// Whether a process reports that it could not write to the host tier. No other fault may be
/// reported.
pub fn is_alone(answer: &libsasl2::Answer) -> bool {
    let lines = complaints(answer);
    let is_busy = |line: &String| line.contains("another process is busy with it");
    assert!(lines.iter().all(is_busy), "{lines:?}");
    !lines.is_empty()
}

/// Logs in with a ticket; with a delay, the process is killed after it.
pub fn log_in(driver: &mut Driver, ticket: &str, death: Option<Duration>) -> End {
    driver.tell(&caspt(format!("\0\0{ticket}").as_bytes()));
    if let Some(delay) = death {
        std::thread::sleep(delay);
        let pid = i32::try_from(driver.pid()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killing a process");
    }
    match driver.answer_or_end() {
        Ok(answer) => End::Answered(answer),
        Err(lines) => {
            assert!(death.is_some(), "the process ended unexpectedly: {lines:?}");
            End::Killed
        }
    }
}

impl Ledger {
    /// Creates a ledger without tickets.
    pub fn new(name: &str, users: usize) -> Self {
        Self {
            name: name.to_owned(),
            users,
            fates: Mutex::default(),
            ends: Mutex::default(),
        }
    }

    /// Adds a new ticket, which CAS accepts if `is_good`; returns its index.
    fn add(&self, site: &Site, is_good: bool) -> usize {
        let mut fates = self.fates();
        let index = fates.len();
        let ticket = format!("PT-{index}-of-{}", self.name);
        let user = is_good.then(|| format!("user{}", index % self.users));
        if let Some(user) = &user {
            site.arm(&ticket, user);
        }
        fates.push(Fate {
            ticket,
            user,
            ..Fate::default()
        });
        index
    }

    /// The index of a ticket to log in with: in `old` of ten cases an earlier one, otherwise one of
    /// the youngest, a forged one, or a new one.
    pub fn choose(&self, site: &Site, dice: &mut Dice, old: usize) -> usize {
        const YOUNGEST_TICKETS: usize = 4;
        let count = self.fates().len();
        match dice.roll(10) {
            0 => self.add(site, false),
            1..=3 if count > YOUNGEST_TICKETS => count - 1 - dice.roll(YOUNGEST_TICKETS),
            roll if roll < 4 + old && count > 0 => dice.roll(count),
            _ => self.add(site, true),
        }
    }

    /// Notes that a login with this ticket begins, and returns the ticket.
    pub fn begin(&self, index: usize) -> String {
        let fate = &mut self.fates()[index];
        fate.first_begun.get_or_insert_with(Instant::now);
        fate.ticket.clone()
    }

    /// Notes how a login ended and returns the state of its ticket. Panics if no login may end like
    /// that.
    pub fn note(&self, index: usize, end: &End) -> Fate {
        let mut fates = self.fates();
        let fate = &mut fates[index];
        let End::Answered(answer) = end else {
            fate.killed += 1;
            return fate.clone();
        };
        fate.alone += usize::from(is_alone(answer));
        let source = source(answer);
        fate.validated += usize::from(source == "validated");
        if answer.code() == code::OK {
            assert_eq!(Some(answer.authid()), fate.user.as_deref(), "{fate:?}");
            fate.accepted += 1;
        } else {
            assert_eq!(answer.reason(), "ticket_refused", "{fate:?}: {answer:?}");
            fate.refused += 1;
        }
        let mut ends = self.ends.lock().expect("the ends");
        *ends.entry((source, answer.reason())).or_default() += 1;
        fate.clone()
    }

    /// The fates of all tickets.
    pub fn all(&self) -> Vec<Fate> {
        self.fates().clone()
    }

    /// Checks that CAS was asked about each ticket by the logins that report it, and at most by
    /// those that were killed; that it accepted the ticket at most once; and that it did not reject
    /// it again while there was a negative entry.
    pub fn check_questions(&self, site: &Site) {
        let mut refused = Vec::new();
        for fate in self.all() {
            let answers = site.cas.answers_about(&fate.ticket);
            let silent = answers.len().checked_sub(fate.validated);
            let is_explained = silent.is_some_and(|silent| silent <= fate.killed);
            assert!(is_explained, "{fate:?} {answers:?}");
            let yes = answers.iter().filter(|answer| answer.is_yes).count();
            assert!(yes <= usize::from(fate.user.is_some()), "{fate:?}");
            let no = answers.iter().filter(|answer| !answer.is_yes);
            refused.push((no.map(|answer| answer.at).collect::<Vec<_>>(), fate));
        }
        let mut all: Vec<Instant> = refused.iter().flat_map(|(no, _)| no.clone()).collect();
        all.sort_unstable();
        for (no, fate) in refused {
            let is_repeated_too_early = |pair: &&[Instant]| {
                let index = |at: Instant| all.partition_point(|other| *other < at);
                let others = index(pair[1]) - index(pair[0]);
                pair[1] - pair[0] < NEGATIVE_TTL && others < MAX_NEGATIVE_ENTRIES
            };
            let repeated = no.windows(2).filter(is_repeated_too_early).count();
            assert!(repeated <= fate.killed + fate.alone, "{fate:?} {no:?}");
        }
    }

    /// Whether a thread has panicked.
    pub fn has_panicked(&self) -> bool {
        self.fates.is_poisoned()
    }

    /// Number of logins that could not be written to the host tier. Some are acceptable, but not
    /// more than one in twenty.
    pub fn alone(&self) -> usize {
        let (mut alone, mut all) = (0, 0);
        for fate in self.fates().iter() {
            alone += fate.alone;
            all += fate.accepted + fate.refused;
        }
        assert!(alone * 20 <= all, "{alone} of {all}");
        alone
    }

    /// Checks that the counters include all logins that ended, and at most the killed ones in
    /// addition.
    pub fn check_counters(&self, stats: &Value, killed: usize) {
        let mut counted = BTreeMap::<_, u64>::new();
        for row in stats["logins"].as_array().expect("logins") {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let count = row["count"].as_u64().expect("a count");
            *counted.entry((word("source"), word("reason"))).or_default() += count;
        }
        let ends = self.ends.lock().expect("the ends");
        for (end, count) in &*ends {
            let total = counted.get(end).copied().unwrap_or(0);
            assert!(total >= *count, "{end:?}: {counted:?} {ends:?}");
        }
        let more = counted.values().sum::<u64>() - ends.values().sum::<u64>();
        assert!(more <= killed as u64, "{counted:?} {ends:?}");
    }

    fn fates(&self) -> MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().expect("the fates")
    }
}
