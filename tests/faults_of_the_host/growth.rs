//! Logins of all kinds, as many as a busy host has in a day: what a process takes for them, it gives
//! back; and what processes leave behind when they end or are killed is used again.

use super::world::{KNOWN, World, ends, message, row, settled};
use crate::libsasl2::token_site::oauthbearer;
use crate::libsasl2::{Driver, code, hex};

/// Exchanges of one turn: known sessions of either kind, new tickets and tokens, tickets that CAS
/// refuses, and what is none.
const TURN: [usize; 6] = [700, 200, 30, 40, 20, 10];

/// What may be taken more after the first quarter than before, in kB: a byte for each of a
/// million logins, fifty for each of 20,000.
const NOTHING: usize = 1_024;

/// A number of the environment, or this one.
fn asked(name: &str, usual: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn twenty_thousand_logins_take_nothing() {
    in_one_process("growth", 20_000);
}

/// `SSO_TEST_LOGINS`: how many.
#[test]
#[ignore = "minutes: see make faults"]
fn a_million_logins_take_nothing() {
    in_one_process("million", asked("SSO_TEST_LOGINS", 1_000_000));
}

fn in_one_process(name: &str, logins: usize) {
    let world = World::new(name);
    // A store that is full soon: from then on its map does not grow either.
    let options = [("sso_sessions", "1000"), ("caspt_budget", "60000")];
    let mut driver = world.driver(&options);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    driver.ask("quiet 1");
    let turns = logins / TURN.iter().sum::<usize>();
    let mut before = None;
    for number in 0..turns {
        turn(&world, &mut driver, number);
        if number == turns / 4 {
            before = Some(settled(&driver));
        }
    }
    let (before, after) = (before.expect("a quarter"), settled(&driver));
    println!("{before:?}\n{after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert!(
        after.anonymous <= before.anonymous + NOTHING,
        "{before:?} {after:?}"
    );
    assert!(
        after.memory <= before.memory + NOTHING,
        "{before:?} {after:?}"
    );
    row(
        "logins of all kinds in one process",
        turns * TURN.iter().sum::<usize>(),
        "each what it should",
        &format!(
            "nothing: {} kB (heap {} kB) after a quarter, {} kB ({} kB) at the end; {} descriptors, {} thread",
            before.memory,
            before.anonymous,
            after.memory,
            after.anonymous,
            after.descriptors,
            after.threads
        ),
    );
}

fn turn(world: &World, driver: &mut Driver, number: usize) {
    let [tickets, tokens, new_tickets, new_tokens, refused, malformed] = TURN;
    world.accept_all(true);
    // Who is known is not forgotten as long as it is used.
    let known = message(KNOWN);
    is(
        driver,
        "known",
        &format!("many CASPT {tickets} {known}"),
        0,
        tickets,
    );
    let new = message("PT-new-");
    is(
        driver,
        "new",
        &format!("many CASPT {new_tickets} {new} new"),
        0,
        new_tickets,
    );
    world.accept_all(false);
    let bad = message("PT-bad-");
    is(
        driver,
        "bad",
        &format!("many CASPT {refused} {bad} new"),
        1,
        refused,
    );
    let nonsense = hex(b"\0\0\0PT-\xff");
    is(
        driver,
        "nonsense",
        &format!("many CASPT {malformed} {nonsense}"),
        3,
        malformed,
    );
    let fresh = (0..new_tokens).map(|token| world.token(number * new_tokens + token));
    let fresh: Vec<Vec<u8>> = fresh.map(|token| oauthbearer(&token)).collect();
    let file = world.site.scratch.write("messages", fresh.join(&b'\n'));
    driver.ask(&format!("messages {}", file.display()));
    is(
        driver,
        "tokens",
        &format!("each OAUTHBEARER {new_tokens}"),
        0,
        new_tokens,
    );
    let known = hex(&fresh[0]);
    is(
        driver,
        "token",
        &format!("many OAUTHBEARER {tokens} {known}"),
        0,
        tokens,
    );
}

/// All of these exchanges end as the one of this place in the ends.
#[track_caller]
fn is(driver: &mut Driver, what: &str, command: &str, place: usize, count: usize) {
    let mut expected = [0; 4];
    expected[place] = count;
    assert_eq!(ends(driver, command), expected, "{what}");
}

#[test]
fn what_short_lived_processes_leave_is_used_again() {
    in_many_processes("short", 120);
}

/// More than there are slots for readers. `SSO_TEST_PROCESSES`: how many.
#[test]
#[ignore = "minutes: see make faults"]
fn what_thousands_of_processes_leave_is_used_again() {
    in_many_processes("thousands", asked("SSO_TEST_PROCESSES", 5_000));
}

fn in_many_processes(name: &str, count: usize) {
    let world = World::new(name);
    let mut lasting = world.driver(&[]);
    assert_eq!(lasting.ticket(KNOWN).code(), code::OK);
    let before = state_files(&world);
    for number in 0..count {
        let mut driver = world.driver(&[]);
        let answer = driver.ticket(KNOWN);
        assert_eq!(
            answer.field("source").as_deref(),
            Some("host"),
            "{number}: {answer:?}"
        );
        assert_eq!(driver.token(&world.token(number % 50)).code(), code::OK);
        match number % 10 {
            0 => {
                let ticket = format!("PT-{number}-short");
                world.arm(&ticket);
                assert_eq!(driver.ticket(&ticket).code(), code::OK);
                assert_eq!(driver.end().0, Some(0));
            }
            // Killed, with everything open.
            _ => drop(driver),
        }
    }
    let answer = lasting.ticket(KNOWN);
    assert_eq!(
        answer.field("source").as_deref(),
        Some("host"),
        "{answer:?}"
    );
    assert_eq!(world.site.cas.requests().len(), 1 + count.div_ceil(10));
    let names = |files: &[(String, u64)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let after = state_files(&world);
    assert_eq!(names(&after), names(&before));
    // Where readers have their slots.
    let slots = |files: &[(String, u64)]| {
        let file = files
            .iter()
            .find(|(name, _)| name.ends_with("-lock"))
            .cloned();
        file.expect("the readers' file").1
    };
    assert_eq!(slots(&after), slots(&before));
    row(
        "processes of one login or three, nine of ten killed",
        count,
        "all in, with the sessions of those before",
        "nothing: the same files, the slots of the dead used again",
    );
}

fn state_files(world: &World) -> Vec<(String, u64)> {
    let listing = std::fs::read_dir(world.site.scratch.join("state")).expect("the state directory");
    let mut files: Vec<(String, u64)> = listing
        .map(|entry| {
            let entry = entry.expect("an entry");
            let length = entry.metadata().expect("a file").len();
            (entry.file_name().to_string_lossy().into_owned(), length)
        })
        .collect();
    files.sort();
    files
}
