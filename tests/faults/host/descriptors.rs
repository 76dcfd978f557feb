//! File descriptors that run out before and during a login.

use super::fault_env::{FaultEnv, KNOWN, idle_usage, print_row};
use test_support::libsasl2::{Answer, code};

/// Number of descriptors, more than a login needs at a time.
const MAX_DESCRIPTORS: usize = 16;

#[test]
fn exhausted_descriptors_cause_an_outage_not_a_refusal() {
    let env = FaultEnv::new("descriptors");
    let mut old = env.driver(&[]);
    assert_eq!(old.ticket(KNOWN).code(), code::OK);
    assert_eq!(old.token(&env.token(0)).code(), code::OK);
    let before = idle_usage(&old).descriptors;
    let (mut accepted, mut unavailable) = (0, 0);
    let mut count = |answer: &Answer, left: usize| match answer.code() {
        code::OK => accepted += 1,
        code::UNAVAIL => {
            unavailable += 1;
            // No challenge, because the client must keep its ticket.
            assert_eq!(answer.steps.len(), 1, "{left}: {answer:?}");
        }
        _ => panic!("{left}: {answer:?}"),
    };
    for left in 0..MAX_DESCRIPTORS {
        // A process with everything open, and one that has yet to open the session cache.
        let mut new = env.driver(&[]);
        for (age, driver) in [("old", &mut old), ("new", &mut new)] {
            let ticket = format!("PT-{left}-{age}");
            env.arm(&ticket);
            driver.ask(&format!("hoard {left}"));
            let known = driver.ticket(KNOWN);
            count(&known, left);
            assert!(age == "new" || known.code() == code::OK, "{known:?}");
            count(&driver.ticket(&ticket), left);
            count(&driver.token(&env.token(left + 1)), left);
            driver.ask("hoard -");
            for ticket in [KNOWN, &ticket] {
                let answer = driver.ticket(ticket);
                assert_eq!(answer.code(), code::OK, "{age} {left}: {answer:?}");
            }
        }
    }
    assert!(accepted > 0 && unavailable > 0);
    assert_eq!(idle_usage(&old).descriptors, before);
    // Sessions created meanwhile are known to other processes, and CAS validated each ticket once.
    let mut other = env.driver(&[]);
    for left in 0..MAX_DESCRIPTORS {
        for age in ["old", "new"] {
            let answer = other.ticket(&format!("PT-{left}-{age}"));
            assert_eq!(
                answer.field("source").as_deref(),
                Some("host"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(env.site.cas.requests().len(), 1 + 2 * MAX_DESCRIPTORS);
    print_row(
        "no descriptors left, or up to 15, before and after the store is open",
        accepted + unavailable,
        &format!("{accepted} accepted, {unavailable} unavailable"),
        "nothing: known sessions are accepted at once, tickets as soon as there are descriptors",
    );
}
