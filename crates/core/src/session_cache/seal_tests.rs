//! Tests that a wrong seal takes the same number of instructions, whichever byte is wrong.
//! Instructions are counted, so that the speed of the machine does not matter.

use std::path::Path;
use std::process::Command;

use super::cache_key::{Key, Secret};

/// Set in the process whose instructions are counted.
const CHILD_VARIABLE: &str = "SSO_TEST_OPEN_SEALS";

#[test]
fn wrong_seals_take_the_same_number_of_instructions() {
    if std::env::var_os(CHILD_VARIABLE).is_some() {
        return open_wrong_seals();
    }
    let directory = tempfile::tempdir().unwrap();
    let opened = "sso_core::session_cache::cache_key::Secret::opened";
    let mut callgrind = Command::new("valgrind");
    callgrind
        .arg("--tool=callgrind")
        .arg(format!("--zero-before={opened}"))
        .arg(format!("--dump-after={opened}"))
        .arg(format!(
            "--callgrind-out-file={}/count",
            directory.path().display()
        ))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1"])
        .arg("session_cache::seal_tests::wrong_seals_take_the_same_number_of_instructions")
        .env(CHILD_VARIABLE, "1");
    let output = callgrind.output().expect("valgrind");
    assert!(output.status.success(), "{output:?}");
    // The first calls bind functions.
    let counts: Vec<u64> = (3..=18).map(|call| count(directory.path(), call)).collect();
    assert!(counts[0] > 1_000, "{counts:?}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

/// Two calls to warm up, and one for each byte of the seal.
fn open_wrong_seals() {
    let (secret, key) = (Secret::new(&[7; 32]), Key::of_test(1));
    let sealed = secret.sealed(&key, b"alice".to_vec());
    let seal = sealed.len() - 16..sealed.len();
    for place in [0, 1].into_iter().chain(seal) {
        let mut wrong = sealed.clone();
        wrong[place] ^= 1;
        assert_eq!(secret.opened(&key, &wrong), None);
    }
}

/// The number of instructions of a call.
fn count(directory: &Path, call: usize) -> u64 {
    let text = std::fs::read_to_string(directory.join(format!("count.{call}"))).unwrap();
    let totals = text.lines().find_map(|line| line.strip_prefix("summary: "));
    totals.expect(&text).trim().parse().unwrap()
}
