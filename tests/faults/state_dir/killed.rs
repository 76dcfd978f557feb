//! Processes that are killed in the middle of a login, with the state directory as the witness.

use crate::state_dir::ledger::{Ledger, is_alone, log_in};
use crate::state_dir::site::{
    Site, check_locks, complaints, listed_users, print_row, source, when_alone,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{Driver, code};

/// So many at a time log in.
const PLAYERS: usize = 6;

/// After so many kills everything is looked at, and a new state directory begun: killed are also
/// those who make it.
const BATCH: usize = 50;

/// LMDB's slots are so many.
const SLOTS: usize = 4_096;

/// What all batches came to.
#[derive(Default)]
struct Sums {
    logins: usize,
    killed: usize,
    refused: usize,
    alone: usize,
    sessions: usize,
}

/// Logs in again and again, and is killed in a login out of four.
fn play(site: &Site, ledger: &Ledger, killed: &AtomicUsize, mut dice: Dice) -> Driver {
    let mut driver = None;
    // How long a login takes of a process that runs already, and of one that must be started.
    let mut usual = [Duration::from_millis(4), Duration::from_millis(40)];
    loop {
        let is_done = killed.load(Ordering::SeqCst) >= BATCH;
        if is_done && let Some(driver) = driver {
            return driver;
        }
        let place = ledger.choose(site, &mut dice, 2);
        let is_fresh = usize::from(driver.is_none());
        let longest = usual[is_fresh].mul_f32(1.2).as_nanos();
        let longest = usize::try_from(longest).expect("seconds");
        let is_to_die = !is_done && dice.is_one_of(4);
        let death = is_to_die.then(|| Duration::from_nanos(dice.roll(longest) as u64));
        let start = Instant::now();
        let process = driver.get_or_insert_with(|| site.driver());
        let end = log_in(process, &ledger.begin(place), death);
        if death.is_some() {
            driver = None;
            killed.fetch_add(1, Ordering::SeqCst);
        } else if end.is_alone() {
            driver = None;
        } else {
            usual[is_fresh] = (usual[is_fresh] * 3 + start.elapsed()) / 4;
        }
        ledger.note(place, &end);
    }
}

/// What is known is what CAS said, and all that was acknowledged, in a process that is new and in
/// one that was there all the time.
fn check_sessions(site: &Site, ledger: &Ledger, survivor: &mut Driver) -> usize {
    let fates = ledger.all();
    let known = listed_users(site);
    for fate in &fates {
        let Some(user) = &fate.user else { continue };
        let is_told = site.is_told_yes(&fate.ticket);
        let is_there = known.contains(user) || fate.accepted == 0 || fate.alone > 0;
        assert!(is_there, "lost: {fate:?}");
        assert!(is_told || !known.contains(user), "false: {fate:?}");
        // Who had a good ticket was only refused if who had asked could not tell.
        assert!(fate.refused == 0 || fate.is_interrupted(), "{fate:?}");
    }
    let good: HashSet<String> = fates.iter().filter_map(|fate| fate.user.clone()).collect();
    assert!(known.is_subset(&good), "{known:?}");
    for driver in [&mut site.driver(), survivor] {
        for fate in &fates {
            let before = site.asked(&fate.ticket);
            let answer = driver.ticket(&fate.ticket);
            is_alone(&answer);
            if fate.user.as_ref().is_some_and(|user| known.contains(user)) {
                assert_eq!(Some(answer.authid()), fate.user.as_deref(), "{fate:?}");
                assert_eq!(source(&answer), "host", "{fate:?}");
                assert_eq!(site.asked(&fate.ticket), before, "{fate:?}");
            } else if answer.code() == code::OK {
                assert_eq!(Some(answer.authid()), fate.user.as_deref(), "{fate:?}");
                assert!(site.is_told_yes(&fate.ticket), "{fate:?}");
            } else {
                assert_eq!(answer.reason(), "ticket_refused", "{fate:?}");
            }
        }
    }
    known.len()
}

fn play_a_batch(site: &Site, seed: u64, sums: &mut Sums) {
    // Each ticket is another user's.
    let ledger = Ledger::new(&format!("batch-{seed}"), usize::MAX);
    let killed = AtomicUsize::new(0);
    let mut survivors: Vec<Driver> = std::thread::scope(|scope| {
        let players: Vec<_> = (0..PLAYERS)
            .map(|who| {
                let dice = Dice::of(seed, who);
                let (ledger, killed) = (&ledger, &killed);
                scope.spawn(move || play(site, ledger, killed, dice))
            })
            .collect();
        let players = players.into_iter();
        players
            .map(|player| player.join().expect("a player"))
            .collect()
    });
    let killed = killed.into_inner();
    check_locks(&site.state_dir());
    ledger.check_counters(&site.sessions_json("stats"), killed);
    ledger.check_questions(site);
    sums.sessions += check_sessions(site, &ledger, &mut survivors[0]);
    sums.killed += killed;
    sums.alone += ledger.alone();
    for fate in ledger.all() {
        sums.logins += fate.accepted + fate.refused;
        if fate.user.is_some() {
            sums.refused += fate.refused;
        }
    }
}

fn kill_so_many(name: &str, count: usize) {
    let seed = Dice::seed(20_260_711);
    println!("seed {seed}");
    let mut site = Site::new(name);
    let mut sums = Sums::default();
    for batch in 0..count.div_ceil(BATCH) {
        site.move_state_to(&format!("state-{batch}"));
        play_a_batch(&site, seed.wrapping_add(batch as u64 * 1_000), &mut sums);
    }
    assert!(sums.logins > sums.killed, "hardly anybody logged in");
    print_row(
        "SIGKILL at a random moment of a login",
        sums.killed,
        &format!(
            "{} logins of others: all as ever, but {} who had the ticket of one that was killed \
             when CAS had spent it, and were asked for a new one{}",
            sums.logins,
            sums.refused,
            when_alone(sums.alone)
        ),
        &format!("nothing: {} sessions, each known to all", sums.sessions),
    );
}

#[test]
fn killed_at_any_moment_a_process_takes_nothing_with_it() {
    kill_so_many("kill", 2 * BATCH);
}

#[test]
#[ignore = "a thousand kills take minutes: make faults"]
fn killed_a_thousand_times_processes_take_nothing_with_them() {
    kill_so_many("kills", 1_000);
}

#[test]
#[ignore = "so many processes take minutes: make faults"]
fn those_that_were_killed_keep_no_slot() {
    const TOGETHER: usize = 50;
    let site = Site::new("slots");
    site.arm("PT-1-slots", "alice");
    assert_eq!(site.driver().ticket("PT-1-slots").code(), code::OK);
    let mut killed = 0;
    while killed < SLOTS + 2 * TOGETHER {
        // Dropped is killed.
        let mut drivers: Vec<Driver> = (0..TOGETHER).map(|_| site.driver()).collect();
        for driver in &mut drivers {
            driver.tell(&test_support::libsasl2::caspt(b"\0\0PT-1-slots"));
        }
        for driver in &mut drivers {
            let answer = driver.answer();
            let none: Vec<String> = Vec::new();
            assert_eq!(complaints(&answer), none, "after {killed}");
            assert_eq!(source(&answer), "host", "after {killed}: {answer:?}");
            killed += 1;
        }
    }
    assert_eq!(site.asked("PT-1-slots"), 1);
    print_row(
        "more processes killed than there are slots for readers",
        killed,
        "nothing",
        "nothing",
    );
}
