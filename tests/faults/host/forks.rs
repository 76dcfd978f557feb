//! Host applications that fork, after loading the plugin and after a login.

use super::fault_env::{FaultEnv, KNOWN, idle_usage, message, print_row};
use test_support::libsasl2::{Driver, code};

/// Number of forks.
const FORKS: usize = 20;

#[track_caller]
fn expect_accepted(driver: &mut Driver, ticket: &str, source: &str) {
    let answer = driver.ticket(ticket);
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(
        answer.field("source").as_deref(),
        Some(source),
        "{answer:?}"
    );
}

#[test]
fn parent_and_child_share_sessions_after_a_fork() {
    let env = FaultEnv::new("forks");
    let mut driver = env.driver(&[]);
    // The first fork happens before the session cache is open, the others after that.
    for number in 0..FORKS {
        let (ours, theirs) = (format!("PT-{number}-parent"), format!("PT-{number}-child"));
        env.arm(&ours);
        env.arm(&theirs);
        assert_eq!(driver.ask("fork").last, ["forked", "0"]);
        expect_accepted(
            &mut driver,
            KNOWN,
            if number == 0 { "validated" } else { "host" },
        );
        expect_accepted(&mut driver, &theirs, "validated");
        assert_eq!(driver.token(&env.token(number)).code(), code::OK);
        // Logins in a grandchild.
        assert_eq!(driver.ask("fork").last, ["forked", "0"]);
        expect_accepted(&mut driver, &theirs, "host");
        assert_eq!(driver.ask("leave").last, ["forked", "0"]);
        expect_accepted(&mut driver, &theirs, "host");
        assert_eq!(driver.ask("leave").last, ["forked", "0"]);
        // The parent is not affected.
        expect_accepted(&mut driver, KNOWN, "host");
        expect_accepted(&mut driver, &theirs, "host");
        expect_accepted(&mut driver, &ours, "validated");
        assert_eq!(driver.token(&env.token(number)).code(), code::OK);
    }
    assert_eq!(env.site.cas.requests().len(), 1 + 2 * FORKS);
    let before = idle_usage(&driver);
    driver.ask("fork");
    driver.ask(&format!("many CASPT 100 {}", message(KNOWN)));
    driver.ask("leave");
    let after = idle_usage(&driver);
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert_eq!(env.site.kit.syslog().tail(), "");
    print_row(
        "the host forks, and its child does, after loading and after logins",
        2 * FORKS + 1,
        "all accepted in both processes, with the sessions of the other",
        "nothing",
    );
}
