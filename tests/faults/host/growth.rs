//! As many logins as a busy host has in a day. A process must not grow, and what ended or killed
//! processes leave behind must be reused.

use super::fault_env::{FaultEnv, KNOWN, idle_usage, message, outcome_counts, print_row};
use test_support::libsasl2::token_site::oauthbearer;
use test_support::libsasl2::{Driver, code, hex};

/// Exchanges per turn: known tickets, known tokens, new tickets, new tokens, refused tickets, and
/// malformed messages.
const EXCHANGES_PER_TURN: [usize; 6] = [700, 200, 30, 40, 20, 10];

/// Maximum growth in kB after the first quarter: one byte per login of a million, 50 bytes per
/// login of 20,000.
const MAX_GROWTH_KB: usize = 1_024;

/// Returns a number from the environment, or `default`.
fn number_from_env(name: &str, default: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn twenty_thousand_logins_do_not_leak() {
    in_one_process("growth", 20_000);
}

/// Runs as many logins as `SSO_TEST_LOGINS` says.
#[test]
#[ignore = "takes minutes: see make faults"]
fn million_logins_do_not_leak() {
    in_one_process("million", number_from_env("SSO_TEST_LOGINS", 1_000_000));
}

fn in_one_process(name: &str, logins: usize) {
    let env = FaultEnv::new(name);
    // The session cache fills soon, so that its map does not grow during the test.
    let options = [("sso_sessions", "1000"), ("caspt_rate_limit", "60000")];
    let mut driver = env.driver(&options);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    driver.ask("quiet 1");
    let turns = logins / EXCHANGES_PER_TURN.iter().sum::<usize>();
    let mut before = None;
    for number in 0..turns {
        turn(&env, &mut driver, number);
        if number == turns / 4 {
            before = Some(idle_usage(&driver));
        }
    }
    let (before, after) = (
        before.expect("there are too few turns"),
        idle_usage(&driver),
    );
    println!("{before:?}\n{after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert!(
        after.anonymous <= before.anonymous + MAX_GROWTH_KB,
        "{before:?} {after:?}"
    );
    assert!(
        after.memory <= before.memory + MAX_GROWTH_KB,
        "{before:?} {after:?}"
    );
    print_row(
        "logins of all kinds in one process",
        turns * EXCHANGES_PER_TURN.iter().sum::<usize>(),
        "each as expected",
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

fn turn(env: &FaultEnv, driver: &mut Driver, number: usize) {
    let [tickets, tokens, new_tickets, new_tokens, refused, malformed] = EXCHANGES_PER_TURN;
    env.accept_all(true);
    // Sessions in use are not evicted.
    let known = message(KNOWN);
    expect_all(
        driver,
        "known",
        &format!("many CASPT {tickets} {known}"),
        0,
        tickets,
    );
    let new = message("PT-new-");
    expect_all(
        driver,
        "new",
        &format!("many CASPT {new_tickets} {new} new"),
        0,
        new_tickets,
    );
    env.accept_all(false);
    let bad = message("PT-bad-");
    expect_all(
        driver,
        "bad",
        &format!("many CASPT {refused} {bad} new"),
        1,
        refused,
    );
    let nonsense = hex(b"\0\0\0PT-\xff");
    expect_all(
        driver,
        "nonsense",
        &format!("many CASPT {malformed} {nonsense}"),
        3,
        malformed,
    );
    let fresh = (0..new_tokens).map(|token| env.token(number * new_tokens + token));
    let fresh: Vec<Vec<u8>> = fresh.map(|token| oauthbearer(&token)).collect();
    let file = env.site.scratch.write("messages", fresh.join(&b'\n'));
    driver.ask(&format!("messages {}", file.display()));
    expect_all(
        driver,
        "tokens",
        &format!("each OAUTHBEARER {new_tokens}"),
        0,
        new_tokens,
    );
    let known = hex(&fresh[0]);
    expect_all(
        driver,
        "token",
        &format!("many OAUTHBEARER {tokens} {known}"),
        0,
        tokens,
    );
}

/// Runs `command` and checks that all exchanges end with the outcome at `index` of
/// [`outcome_counts`].
#[track_caller]
fn expect_all(driver: &mut Driver, what: &str, command: &str, index: usize, count: usize) {
    let mut expected = [0; 4];
    expected[index] = count;
    assert_eq!(outcome_counts(driver, command), expected, "{what}");
}

#[test]
fn resources_of_ended_processes_are_reused() {
    in_many_processes("short", 120);
}

/// Runs as many processes as `SSO_TEST_PROCESSES` says, by default more than there are reader
/// slots.
#[test]
#[ignore = "takes minutes: see make faults"]
fn resources_of_thousands_of_processes_are_reused() {
    in_many_processes("thousands", number_from_env("SSO_TEST_PROCESSES", 5_000));
}

fn in_many_processes(name: &str, count: usize) {
    let env = FaultEnv::new(name);
    let mut lasting = env.driver(&[]);
    assert_eq!(lasting.ticket(KNOWN).code(), code::OK);
    let before = state_files(&env);
    for number in 0..count {
        let mut driver = env.driver(&[]);
        let answer = driver.ticket(KNOWN);
        assert_eq!(
            answer.field("source").as_deref(),
            Some("host"),
            "{number}: {answer:?}"
        );
        assert_eq!(driver.token(&env.token(number % 50)).code(), code::OK);
        match number % 10 {
            0 => {
                let ticket = format!("PT-{number}-short");
                env.arm(&ticket);
                assert_eq!(driver.ticket(&ticket).code(), code::OK);
                assert_eq!(driver.end().0, Some(0));
            }
            // Dropping the driver kills the process while it has everything open.
            _ => drop(driver),
        }
    }
    let answer = lasting.ticket(KNOWN);
    assert_eq!(
        answer.field("source").as_deref(),
        Some("host"),
        "{answer:?}"
    );
    assert_eq!(env.site.cas.requests().len(), 1 + count.div_ceil(10));
    let names = |files: &[(String, u64)]| {
        files
            .iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    };
    let after = state_files(&env);
    assert_eq!(names(&after), names(&before));
    // The size of the lock file shows the number of reader slots.
    let slots = |files: &[(String, u64)]| {
        let file = files
            .iter()
            .find(|(name, _)| name.ends_with("-lock"))
            .cloned();
        file.expect("there is no lock file").1
    };
    assert_eq!(slots(&after), slots(&before));
    print_row(
        "processes with two or three logins each, nine of ten killed",
        count,
        "all accepted, with the sessions of earlier processes",
        "nothing: the same files, the reader slots of ended processes reused",
    );
}

fn state_files(env: &FaultEnv) -> Vec<(String, u64)> {
    let listing =
        std::fs::read_dir(env.site.scratch.join("state")).expect("cannot list the state directory");
    let mut files: Vec<(String, u64)> = listing
        .map(|entry| {
            let entry = entry.expect("cannot list the state directory");
            let length = entry
                .metadata()
                .expect("cannot read the size of the file")
                .len();
            (entry.file_name().to_string_lossy().into_owned(), length)
        })
        .collect();
    files.sort();
    files
}
