//! Kills processes in the middle of a login, and checks the state directory afterwards.

use crate::state_dir::ledger::{Ledger, is_alone, log_in};
use crate::state_dir::site::{
    Site, check_locks, complaints, listed_users, print_row, source, when_alone,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{Driver, code};

/// Number of processes that log in at the same time.
const CONCURRENT_LOGINS: usize = 6;

/// Number of kills after which all sessions are checked and a new state directory is begun, so that
/// processes are also killed while they create it.
const KILLS_PER_BATCH: usize = 50;

/// Number of reader slots of LMDB.
const READER_SLOTS: usize = 4_096;

/// Sums over all batches.
#[derive(Default)]
struct Sums {
    logins: usize,
    killed: usize,
    refused: usize,
    alone: usize,
    sessions: usize,
}

/// Logs in repeatedly; one login out of four is killed.
fn log_in_until_killed(
    site: &Site,
    ledger: &Ledger,
    killed: &AtomicUsize,
    mut dice: Dice,
) -> Driver {
    let mut driver = None;
    // Duration of a login in a running process, and in a process that must be started.
    let mut usual_duration = [Duration::from_millis(4), Duration::from_millis(40)];
    loop {
        let is_done = killed.load(Ordering::SeqCst) >= KILLS_PER_BATCH;
        if is_done && let Some(driver) = driver {
            return driver;
        }
        let index = ledger.choose(site, &mut dice, 2);
        let is_fresh = usize::from(driver.is_none());
        let longest = usual_duration[is_fresh].mul_f32(1.2).as_nanos();
        let longest = usize::try_from(longest).expect("seconds");
        let is_to_die = !is_done && dice.is_one_of(4);
        let death = is_to_die.then(|| Duration::from_nanos(dice.roll(longest) as u64));
        let start = Instant::now();
        let process = driver.get_or_insert_with(|| site.driver());
        let end = log_in(process, &ledger.begin(index), death);
        if death.is_some() {
            driver = None;
            killed.fetch_add(1, Ordering::SeqCst);
        } else if end.is_alone() {
            driver = None;
        } else {
            usual_duration[is_fresh] = (usual_duration[is_fresh] * 3 + start.elapsed()) / 4;
        }
        ledger.note(index, &end);
    }
}

/// Checks that a session exists only if CAS accepted its ticket, and for every login that was
/// acknowledged; in a new process and in one that was there all the time. Returns the number of
/// sessions.
fn check_sessions(site: &Site, ledger: &Ledger, survivor: &mut Driver) -> usize {
    let fates = ledger.all();
    let cached = listed_users(site);
    for fate in &fates {
        let Some(user) = &fate.user else { continue };
        let is_accepted = site.is_accepted_by_cas(&fate.ticket);
        let is_cached = cached.contains(user) || fate.accepted == 0 || fate.alone > 0;
        assert!(is_cached, "lost session: {fate:?}");
        assert!(
            is_accepted || !cached.contains(user),
            "unexpected session: {fate:?}"
        );
        // A valid ticket may only be refused if the process that had it validated was interrupted.
        assert!(fate.refused == 0 || fate.is_interrupted(), "{fate:?}");
    }
    let good: HashSet<String> = fates.iter().filter_map(|fate| fate.user.clone()).collect();
    assert!(cached.is_subset(&good), "{cached:?}");
    for driver in [&mut site.driver(), survivor] {
        for fate in &fates {
            let before = site.asked(&fate.ticket);
            let answer = driver.ticket(&fate.ticket);
            is_alone(&answer);
            if fate.user.as_ref().is_some_and(|user| cached.contains(user)) {
                assert_eq!(Some(answer.authid()), fate.user.as_deref(), "{fate:?}");
                assert_eq!(source(&answer), "host", "{fate:?}");
                assert_eq!(site.asked(&fate.ticket), before, "{fate:?}");
            } else if answer.code() == code::OK {
                assert_eq!(Some(answer.authid()), fate.user.as_deref(), "{fate:?}");
                assert!(site.is_accepted_by_cas(&fate.ticket), "{fate:?}");
            } else {
                assert_eq!(answer.reason(), "ticket_refused", "{fate:?}");
            }
        }
    }
    cached.len()
}

fn run_batch(site: &Site, seed: u64, sums: &mut Sums) {
    // Each ticket belongs to another user.
    let ledger = Ledger::new(&format!("batch-{seed}"), usize::MAX);
    let killed = AtomicUsize::new(0);
    let mut survivors: Vec<Driver> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONCURRENT_LOGINS)
            .map(|who| {
                let dice = Dice::of(seed, who);
                let (ledger, killed) = (&ledger, &killed);
                scope.spawn(move || log_in_until_killed(site, ledger, killed, dice))
            })
            .collect();
        let threads = threads.into_iter();
        threads
            .map(|thread| thread.join().expect("a thread"))
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

fn kill_processes(name: &str, count: usize) {
    let seed = Dice::seed(20_260_711);
    println!("seed {seed}");
    let mut site = Site::new(name);
    let mut sums = Sums::default();
    for batch in 0..count.div_ceil(KILLS_PER_BATCH) {
        site.move_state_to(&format!("state-{batch}"));
        run_batch(&site, seed.wrapping_add(batch as u64 * 1_000), &mut sums);
    }
    assert!(sums.logins > sums.killed, "fewer logins than kills");
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
fn killed_process_loses_no_session_and_leaves_no_lock() {
    kill_processes("kill", 2 * KILLS_PER_BATCH);
}

#[test]
#[ignore = "a thousand kills take minutes: make faults"]
fn thousand_killed_processes_lose_no_session_and_leave_no_lock() {
    kill_processes("kills", 1_000);
}

#[test]
#[ignore = "so many processes take minutes: make faults"]
fn killed_processes_keep_no_reader_slot() {
    const DRIVERS_AT_ONCE: usize = 50;
    let site = Site::new("slots");
    site.arm("PT-1-slots", "alice");
    assert_eq!(site.driver().ticket("PT-1-slots").code(), code::OK);
    let mut killed = 0;
    while killed < READER_SLOTS + 2 * DRIVERS_AT_ONCE {
        // Dropping a driver kills it.
        let mut drivers: Vec<Driver> = (0..DRIVERS_AT_ONCE).map(|_| site.driver()).collect();
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
