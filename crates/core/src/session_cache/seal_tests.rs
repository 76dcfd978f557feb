//! Whichever byte of a seal is wrong, the processor does as many instructions until it is refused:
//! counted, so that no machine's mood is in it.

use std::path::Path;
use std::process::Command;

use super::cache_key::{Key, Secret};

/// In a process of its own, which is counted.
const INSIDE: &str = "SSO_TEST_OPEN_SEALS";

#[test]
fn whichever_byte_of_a_seal_is_wrong_it_takes_as_many_instructions() {
    if std::env::var_os(INSIDE).is_some() {
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
        .arg("session_cache::seal_tests::whichever_byte_of_a_seal_is_wrong_it_takes_as_many_instructions")
        .env(INSIDE, "1");
    let output = callgrind.output().expect("valgrind");
    assert!(output.status.success(), "{output:?}");
    // What is done for the first time binds functions.
    let counts: Vec<u64> = (3..=18).map(|call| count(directory.path(), call)).collect();
    assert!(counts[0] > 1_000, "{counts:?}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

/// Two for warming, and one for each byte of the seal.
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

/// The instructions of a call.
fn count(directory: &Path, call: usize) -> u64 {
    let text = std::fs::read_to_string(directory.join(format!("count.{call}"))).unwrap();
    let totals = text.lines().find_map(|line| line.strip_prefix("summary: "));
    totals.expect(&text).trim().parse().unwrap()
}
