//! What happened to each ticket, as those who logged in by it saw it, and what must be true of that.

use crate::state_dir::site::{Site, complaints, source};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{self, Driver, caspt, code};

/// For so long a refusal is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

/// And no more than so many of them.
const REFUSALS: usize = 10_000;

/// What happened to one ticket.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    /// The ticket.
    pub ticket: String,
    /// Whose it is; nobody's if it was made up.
    pub user: Option<String>,
    /// When somebody was first to log in by it.
    pub begun: Option<Instant>,
    /// How many logins were accepted.
    pub accepted: usize,
    /// How many were refused.
    pub refused: usize,
    /// How many of both were by CAS' word and not by what is known.
    pub validated: usize,
    /// How many ended because their process was killed.
    pub killed: usize,
    /// How many could not be told to the other processes, because the machine was so busy that
    /// somebody had the store for a second; the log says so.
    pub alone: usize,
}

impl Fate {
    /// Whether the others may not know what became of one of its logins.
    pub fn is_interrupted(&self) -> bool {
        self.killed + self.alone > 0
    }
}

/// All of them.
pub struct Ledger {
    /// What its tickets are called after.
    name: String,
    /// Every so many of them are of the same user.
    users: usize,
    fates: Mutex<Vec<Fate>>,
    /// How many logins came to this end, by source and reason.
    ends: Mutex<BTreeMap<(String, String), u64>>,
}

/// How a login ended for who waited for it.
pub enum End {
    Answered(libsasl2::Answer),
    Killed,
}

impl End {
    /// Whether the process could not tell the others. It says so once in ten minutes, so that it is
    /// of no more use here.
    pub fn is_alone(&self) -> bool {
        match self {
            Self::Answered(answer) => is_alone(answer),
            Self::Killed => false,
        }
    }
}

/// Whether a process says that it could not tell the others. It has nothing else to complain of.
pub fn is_alone(answer: &libsasl2::Answer) -> bool {
    let said = complaints(answer);
    let is_busy = |line: &String| line.contains("another process is busy with it");
    assert!(said.iter().all(is_busy), "{said:?}");
    !said.is_empty()
}

/// Logs in by a ticket; if there is a delay, the process is killed after that.
pub fn log_in(driver: &mut Driver, ticket: &str, death: Option<Duration>) -> End {
    driver.tell(&caspt(format!("\0\0{ticket}").as_bytes()));
    if let Some(delay) = death {
        std::thread::sleep(delay);
        let pid = i32::try_from(driver.pid()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killing a process");
    }
    match driver.answer_or_end() {
        Ok(answer) => End::Answered(answer),
        Err(said) => {
            assert!(death.is_some(), "it ended by itself: {said:?}");
            End::Killed
        }
    }
}

impl Ledger {
    /// One without tickets.
    pub fn new(name: &str, users: usize) -> Self {
        Self {
            name: name.to_owned(),
            users,
            fates: Mutex::default(),
            ends: Mutex::default(),
        }
    }

    /// The place of a new ticket, which CAS will take if it is good.
    fn add(&self, site: &Site, is_good: bool) -> usize {
        let mut fates = self.fates();
        let place = fates.len();
        let ticket = format!("PT-{place}-of-{}", self.name);
        let user = is_good.then(|| format!("user{}", place % self.users));
        if let Some(user) = &user {
            site.arm(&ticket, user);
        }
        fates.push(Fate {
            ticket,
            user,
            ..Fate::default()
        });
        place
    }

    /// The place of a ticket to log in by: an old one so many times out of ten; or one that others
    /// have just got, one that was made up, or a new one.
    pub fn choose(&self, site: &Site, dice: &mut Dice, old: usize) -> usize {
        const YOUNG: usize = 4;
        let count = self.fates().len();
        match dice.roll(10) {
            0 => self.add(site, false),
            1..=3 if count > YOUNG => count - 1 - dice.roll(YOUNG),
            roll if roll < 4 + old && count > 0 => dice.roll(count),
            _ => self.add(site, true),
        }
    }

    /// The ticket of this place, by which somebody is to log in now.
    pub fn begin(&self, place: usize) -> String {
        let fate = &mut self.fates()[place];
        fate.begun.get_or_insert_with(Instant::now);
        fate.ticket.clone()
    }

    /// Notes how a login ended, and what is known of its ticket then. What no login may come to is a
    /// failure at once.
    pub fn note(&self, place: usize, end: &End) -> Fate {
        let mut fates = self.fates();
        let fate = &mut fates[place];
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

    /// What happened to all tickets.
    pub fn all(&self) -> Vec<Fate> {
        self.fates().clone()
    }

    /// Checks that CAS was asked about each ticket by those who say so, and by some of those who
    /// were killed; that it said yes once, and no not again while that is remembered.
    pub fn check_questions(&self, site: &Site) {
        let mut refused = Vec::new();
        for fate in self.all() {
            let answers = site.cas.answers_about(&fate.ticket);
            let silent = answers.len().checked_sub(fate.validated);
            let is_told = silent.is_some_and(|silent| silent <= fate.killed);
            assert!(is_told, "{fate:?} {answers:?}");
            let yes = answers.iter().filter(|answer| answer.is_yes).count();
            assert!(yes <= usize::from(fate.user.is_some()), "{fate:?}");
            let no = answers.iter().filter(|answer| !answer.is_yes);
            refused.push((no.map(|answer| answer.at).collect::<Vec<_>>(), fate));
        }
        let mut all: Vec<Instant> = refused.iter().flat_map(|(no, _)| no.clone()).collect();
        all.sort_unstable();
        for (no, fate) in refused {
            let is_forgotten = |pair: &&[Instant]| {
                let place = |at: Instant| all.partition_point(|other| *other < at);
                let others = place(pair[1]) - place(pair[0]);
                pair[1] - pair[0] < REMEMBERED && others < REFUSALS
            };
            let forgotten = no.windows(2).filter(is_forgotten).count();
            assert!(forgotten <= fate.killed + fate.alone, "{fate:?} {no:?}");
        }
    }

    /// Whether somebody has failed.
    pub fn is_spoilt(&self) -> bool {
        self.fates.is_poisoned()
    }

    /// How many logins could not be told to others. That is no fault, but it is if it is the rule.
    pub fn alone(&self) -> usize {
        let (mut alone, mut all) = (0, 0);
        for fate in self.fates().iter() {
            alone += fate.alone;
            all += fate.accepted + fate.refused;
        }
        assert!(alone * 20 <= all, "{alone} of {all}");
        alone
    }

    /// Checks that all that ended is counted, and not more but for the killed.
    pub fn check_counters(&self, stats: &Value, killed: usize) {
        let mut counted = BTreeMap::<_, u64>::new();
        for row in stats["logins"].as_array().expect("logins") {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let count = row["count"].as_u64().expect("a count");
            *counted.entry((word("source"), word("reason"))).or_default() += count;
        }
        let ends = self.ends.lock().expect("the ends");
        for (end, count) in &*ends {
            let of_all = counted.get(end).copied().unwrap_or(0);
            assert!(of_all >= *count, "{end:?}: {counted:?} {ends:?}");
        }
        let more = counted.values().sum::<u64>() - ends.values().sum::<u64>();
        assert!(more <= killed as u64, "{counted:?} {ends:?}");
    }

    fn fates(&self) -> MutexGuard<'_, Vec<Fate>> {
        self.fates.lock().expect("the fates")
    }
}
