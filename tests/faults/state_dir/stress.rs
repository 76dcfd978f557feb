//! The host tier under stress: random logins, refusals, flushes and kills, checked against the log
//! and against the requests to CAS.

use crate::state_dir::ledger::{End, Fate, Ledger, log_in};
use crate::state_dir::site::{Site, check_locks, print_row, source, when_alone};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{Driver, code};

const PROCESSES: usize = 32;

/// Number of users that the tickets are distributed over.
const USERS: usize = 40;

/// The first of these users have their sessions flushed; the others keep theirs.
const FLUSHED_USERS: usize = 10;

/// One login out of this many is killed.
const KILL_INTERVAL: usize = 100;

/// A flush of a user's sessions, from its begin to its end.
#[derive(Clone, Debug)]
struct Flush {
    user: String,
    begin: Instant,
    end: Option<Instant>,
}

/// The state that all threads share.
struct Stress {
    site: Site,
    ledger: Ledger,
    flushes: Mutex<Vec<Flush>>,
    /// Tickets that were refused without a flush; allowed only if their validation was interrupted.
    unexplained: Mutex<Vec<usize>>,
    killed: AtomicUsize,
    end: Instant,
}

impl Stress {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.ledger.has_panicked()
    }

    fn flushes(&self) -> MutexGuard<'_, Vec<Flush>> {
        self.flushes.lock().expect("the flushes")
    }

    /// Logs in repeatedly, and starts killed processes again.
    fn log_in_until_end(&self, mut dice: Dice) {
        let mut driver: Option<Driver> = None;
        while !self.is_over() {
            let index = self.ledger.choose(&self.site, &mut dice, 5);
            let is_to_die = dice.is_one_of(KILL_INTERVAL);
            let death = is_to_die.then(|| Duration::from_micros(dice.roll(20_000) as u64));
            let ticket = self.ledger.begin(index);
            let begin = Instant::now();
            let process = driver.get_or_insert_with(|| self.site.driver());
            let end = log_in(process, &ticket, death);
            if death.is_some() {
                driver = None;
                self.killed.fetch_add(1, Ordering::SeqCst);
            }
            if end.is_alone() {
                driver = None;
            }
            let fate = self.ledger.note(index, &end);
            self.assert_explained(index, &fate, begin, &end);
        }
    }

    /// Checks that earlier events explain the result of a login.
    fn assert_explained(&self, index: usize, fate: &Fate, begin: Instant, end: &End) {
        let (End::Answered(answer), Some(user)) = (end, &fate.user) else {
            return;
        };
        let user_flushes: Vec<Flush> = {
            let flushes = self.flushes();
            let user_flushes = flushes.iter().filter(|flush| flush.user == *user);
            user_flushes.cloned().collect()
        };
        if answer.code() != code::OK {
            // The sessions were flushed after the first login had first_begun, or are being flushed.
            let since = fate.first_begun.expect("a beginning");
            let explains = |flush: &Flush| flush.end.is_none_or(|end| end > since);
            if !user_flushes.iter().any(explains) {
                self.unexplained.lock().expect("the list").push(index);
            }
        } else if source(answer) != "validated" {
            let answers = self.site.cas.answers_about(&fate.ticket);
            let yes = answers.iter().find(|answer| answer.is_yes);
            let yes = yes.expect("a session that CAS knows of").at;
            let ended = |flush: &&Flush| flush.end.is_some_and(|end| end < begin);
            let flushed = user_flushes
                .iter()
                .filter(ended)
                .find(|flush| yes < flush.begin);
            assert!(
                flushed.is_none(),
                "flushed, and a session: {fate:?} {flushed:?}"
            );
        }
    }

    /// Flushes the sessions of random users.
    fn flush(&self, mut dice: Dice) {
        while !self.is_over() {
            std::thread::sleep(Duration::from_millis(50 + dice.roll(400) as u64));
            let user = format!("user{}", dice.roll(FLUSHED_USERS));
            let index = {
                let mut flushes = self.flushes();
                flushes.push(Flush {
                    user: user.clone(),
                    begin: Instant::now(),
                    end: None,
                });
                flushes.len() - 1
            };
            self.site.sessions(&["flush", "--user", &user]);
            self.flushes()[index].end = Some(Instant::now());
        }
    }

    /// Checks everything after all threads have ended.
    fn check(&self) {
        check_locks(&self.site.state_dir());
        let killed = self.killed.load(Ordering::SeqCst);
        let stats = self.site.sessions_json("stats");
        self.ledger.check_counters(&stats, killed);
        assert_eq!(stats["store"]["evicted_sessions"], 0);
        self.ledger.check_questions(&self.site);
        let fates = self.ledger.all();
        for index in self.unexplained.lock().expect("the list").iter() {
            assert!(fates[*index].is_interrupted(), "{:?}", fates[*index]);
        }
        let flushed: Vec<String> = self.flushes().iter().map(|f| f.user.clone()).collect();
        let mut new_driver = self.site.driver();
        for fate in fates.iter().filter(|fate| fate.accepted > 0) {
            let user = fate.user.as_ref().expect("a user");
            if flushed.contains(user) {
                continue;
            }
            if !fate.is_interrupted() {
                assert_eq!(self.site.asked(&fate.ticket), 1, "{fate:?}");
            }
            if fate.alone == 0 {
                let answer = new_driver.ticket(&fate.ticket);
                assert_eq!(source(&answer), "host", "{fate:?}: {answer:?}");
                assert_eq!(answer.authid(), user, "{fate:?}");
            }
        }
    }

    fn print(&self, duration: Duration) {
        let fates = self.ledger.all();
        let sum = |what: fn(&Fate) -> usize| fates.iter().map(what).sum::<usize>();
        let (accepted, refused) = (sum(|fate| fate.accepted), sum(|fate| fate.refused));
        let asked: usize = fates.iter().map(|fate| self.site.asked(&fate.ticket)).sum();
        let good = fates.iter().filter(|fate| fate.user.is_some()).count();
        let killed = self.killed.load(Ordering::SeqCst);
        let flushes = self.flushes().len();
        let store = self.site.store_size() >> 20;
        print_row(
            &format!(
                "{PROCESSES} processes for {} s, one login of {KILL_INTERVAL} killed, {flushes} flushes",
                duration.as_secs()
            ),
            accepted + refused + killed,
            &format!(
                "{accepted} accepted, {refused} refused: made up, flushed, or spent by one that \
                 was killed; {killed} killed; {good} good tickets and {} made up, about which CAS \
                 was asked {asked} times; a store of {store} MiB{}",
                fates.len() - good,
                when_alone(self.ledger.alone())
            ),
            "nothing",
        );
    }
}

fn stress(name: &str, duration: Duration) {
    let seed = Dice::seed(20_260_807);
    println!("seed {seed}");
    let mut site = Site::new(name);
    site.set("sso_sessions", "500000");
    let stress = Stress {
        site,
        ledger: Ledger::new("stress", USERS),
        flushes: Mutex::default(),
        unexplained: Mutex::default(),
        killed: AtomicUsize::new(0),
        end: Instant::now() + duration,
    };
    // The store must exist before it can be flushed.
    let first = stress
        .ledger
        .begin(stress.ledger.choose(&stress.site, &mut Dice::new(1), 0));
    let end = log_in(&mut stress.site.driver(), &first, None);
    stress.ledger.note(0, &end);
    std::thread::scope(|scope| {
        for who in 0..PROCESSES {
            let stress = &stress;
            scope.spawn(move || stress.log_in_until_end(Dice::of(seed, who)));
        }
        scope.spawn(|| stress.flush(Dice::of(seed, PROCESSES)));
    });
    stress.check();
    stress.print(duration);
}

#[test]
fn logins_are_correct_under_stress() {
    stress("stress", Duration::from_secs(8));
}

#[test]
#[ignore = "it takes SSO_STRESS_SECONDS, or ten minutes: make faults"]
fn logins_are_correct_under_long_stress() {
    let seconds = std::env::var("SSO_STRESS_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("a number of seconds"));
    stress("stress-long", Duration::from_secs(seconds.unwrap_or(600)));
}
