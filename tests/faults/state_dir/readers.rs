//! Readers of the store: many processes that have read and stay alive, and processes that are
//! stopped while they read.

use crate::state_dir::site::{Site, print_row, source};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::libsasl2::{Answer, Driver, caspt, code, hex};

/// One process in this many brings a forged ticket.
const FORGED_INTERVAL: usize = 20;

/// The file of the state directory whose name begins and results like this.
fn file(state: &Path, begin: &str, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(state).expect("the state directory");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(begin) && name.ends_with(end)
    };
    paths.find(matches).expect("the file")
}

/// The number of reader slots in use: those with a process ID in LMDB's lock file, where each has a
/// cache line, after a header of two (`MDB_reader` in mdb.c).
fn slots_in_use(site: &Site) -> usize {
    let lock_file = file(&site.state_dir(), "sessions-", "-lock");
    let bytes = std::fs::read(lock_file).expect("LMDB's lock file");
    let slots = bytes.chunks(64).skip(2);
    slots.filter(|slot| slot[8..12] != [0; 4]).count()
}

/// The number of exchanges by result: accepted, refused, outage, other.
fn results(answer: &Answer) -> [usize; 4] {
    let number = |index: usize| answer.last[index].parse().expect("a number");
    [number(1), number(2), number(3), number(4)]
}

fn assert_is_cached(answer: &Answer) {
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(source(answer), "host", "{answer:?}");
}

fn log_in_beside_a_crowd(name: &str, count: usize) {
    let site = Site::new(name);
    site.arm("PT-1-crowd", "alice");
    assert_eq!(site.driver().ticket("PT-1-crowd").code(), code::OK);
    let without_crowd = shortest_times(&site);
    let mut crowd = site.driver();
    let [good, bad] = ["\0\0PT-1-crowd", "\0\0PT-1-made-up-"].map(|text| hex(text.as_bytes()));
    let start = Instant::now();
    let answer = crowd.ask(&format!(
        "crowd {count} {FORGED_INTERVAL} CASPT {good} {bad}"
    ));
    let took = start.elapsed();
    let refused = count / FORGED_INTERVAL;
    assert_eq!(results(&answer), [count - refused, refused, 0, 0]);
    assert_eq!(slots_in_use(&site), 0);
    let with_crowd = shortest_times(&site);
    assert_eq!(site.asked("PT-1-crowd"), 1);
    assert_eq!(slots_in_use(&site), 0);
    println!(
        "{count} processes in {took:?}; first and second login of a process with a cached ticket: \
         {without_crowd:?} without them, {with_crowd:?} with them"
    );
    print_row(
        "more processes alive that have logged in than there are slots for readers",
        count,
        "nothing",
        "nothing",
    );
}

/// The shortest of several times for a cached ticket in a new process: of its first login, and of
/// the second.
fn shortest_times(site: &Site) -> [Duration; 2] {
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..5 {
        let mut driver = site.driver();
        driver.ask("list");
        for time in &mut shortest {
            let start = Instant::now();
            assert_is_cached(&driver.ticket("PT-1-crowd"));
            *time = start.elapsed().min(*time);
        }
    }
    shortest
}

#[test]
fn more_processes_than_reader_slots_may_stay_alive_after_a_login() {
    log_in_beside_a_crowd("crowd", 4_500);
}

#[test]
#[ignore = "ten thousand processes take a minute: make crowds"]
fn ten_thousand_processes_may_stay_alive_after_a_login() {
    log_in_beside_a_crowd("crowds", 10_000);
}

#[test]
fn process_stopped_with_the_reader_lock_causes_an_outage_until_it_ends() {
    let site = Site::new("seized");
    site.arm("PT-1-seized", "alice");
    let mut driver = site.driver();
    assert_eq!(driver.ticket("PT-1-seized").code(), code::OK);
    let sync = file(&site.state_dir(), "sync-", "").display().to_string();
    let is_outage = |answer: &Answer| {
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert_eq!(answer.reason(), "sessions_unreadable", "{answer:?}");
    };
    for is_killed in [false, true] {
        let mut stopped = site.driver();
        assert_eq!(stopped.ask(&format!("seize {sync}")).code(), 0);
        // One process has the store open, and one is new.
        is_outage(&driver.ticket("PT-1-seized"));
        is_outage(&site.driver().ticket("PT-1-seized"));
        // An unknown ticket is not sent to CAS either, because the result could not be written.
        is_outage(&driver.ticket("PT-2-seized"));
        if is_killed {
            drop(stopped);
        } else {
            assert_eq!(stopped.ask("release").code(), 0);
        }
        assert_is_cached(&driver.ticket("PT-1-seized"));
        assert_is_cached(&site.driver().ticket("PT-1-seized"));
    }
    assert_eq!(site.asked("PT-1-seized"), 1);
    assert_eq!(site.asked("PT-2-seized"), 0);
    assert_eq!(slots_in_use(&site), 0);
}

fn signal(driver: &Driver, signal: Signal) {
    let pid = i32::try_from(driver.pid()).expect("a process number");
    kill(Pid::from_raw(pid), signal).expect("sending a signal");
}

/// Stops a process that reads all the time at random moments, while another one logs in.
fn stop_reader(name: &str, count: usize) {
    let seed = Dice::seed(20_261_201);
    println!("seed {seed}");
    let mut dice = Dice::of(seed, 0);
    let site = Site::new(name);
    site.arm("PT-1-stop", "alice");
    let mut driver = site.driver();
    assert_eq!(driver.ticket("PT-1-stop").code(), code::OK);
    let mut reading = site.driver();
    reading.ask("quiet 1");
    let cached = hex(b"\0\0PT-1-stop");
    reading.tell(&format!("many CASPT 1000000000 {cached}"));
    let mut outages = 0;
    for _ in 0..count {
        std::thread::sleep(Duration::from_micros(dice.roll(2_000) as u64));
        signal(&reading, Signal::SIGSTOP);
        let answer = driver.ticket("PT-1-stop");
        signal(&reading, Signal::SIGCONT);
        if answer.code() == code::UNAVAIL {
            assert_eq!(answer.reason(), "sessions_unreadable", "{answer:?}");
            outages += 1;
        } else {
            assert_is_cached(&answer);
        }
        assert_is_cached(&driver.ticket("PT-1-stop"));
    }
    // The process is killed while it reads.
    drop(reading);
    assert_is_cached(&driver.ticket("PT-1-stop"));
    assert_eq!(site.asked("PT-1-stop"), 1);
    print_row(
        "SIGSTOP at a random moment of a read",
        count,
        &format!("an outage in {outages} logins of others, until it went on"),
        "nothing",
    );
}

#[test]
fn reader_stopped_at_any_moment_causes_at_most_an_outage() {
    stop_reader("stop", 300);
}

#[test]
#[ignore = "thousands of stops take minutes: make faults"]
fn reader_stopped_thousands_of_times_causes_at_most_an_outage() {
    stop_reader("stops", 4_000);
}

/// How often a process has slept so far, and its processor time in ticks.
fn usage(driver: &Driver) -> (u64, u64) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", driver.pid()));
    let (status, stat) = (read("status").expect("/proc"), read("stat").expect("/proc"));
    let slept = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .and_then(|number| number.trim().parse().ok());
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default())
        .collect();
    (slept.expect("a number"), fields[11] + fields[12])
}

#[test]
fn logins_that_wait_for_one_ticket_sleep_until_its_answer() {
    const WAITERS: usize = 100;
    const DELAY: Duration = Duration::from_millis(3_700);
    let site = Site::new("waiters");
    site.arm("PT-1-warm", "alice");
    site.arm("PT-2-wait", "bob");
    let mut drivers: Vec<Driver> = (0..WAITERS).map(|_| site.driver()).collect();
    for driver in &mut drivers {
        assert_eq!(driver.ticket("PT-1-warm").code(), code::OK);
    }
    site.cas.set_delay(DELAY);
    let before: Vec<(u64, u64)> = drivers.iter().map(usage).collect();
    let start = Instant::now();
    for driver in &mut drivers {
        driver.tell(&caspt(b"\0\0PT-2-wait"));
    }
    let answers: Vec<Answer> = drivers.iter_mut().map(Driver::answer).collect();
    let took = start.elapsed();
    let after: Vec<(u64, u64)> = drivers.iter().map(usage).collect();
    let mut used = 0;
    for (answer, (before, after)) in answers.iter().zip(before.iter().zip(&after)) {
        assert_eq!(answer.code(), code::OK, "{answer:?}");
        // Polling every 4 ms would be 900 times.
        let slept = after.0 - before.0;
        let is_waiter = source(answer) == "host";
        assert!(!is_waiter || slept < 100, "{slept} times: {answer:?}");
        used += after.1 - before.1;
    }
    assert_eq!(site.asked("PT-2-wait"), 1);
    println!(
        "{WAITERS} waiters for {DELAY:?}: all answered after {took:?}, {} ms of the processor",
        used * 10
    );
}
