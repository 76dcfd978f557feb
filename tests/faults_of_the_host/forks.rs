//! Hosts that fork: after they loaded the plugin, and after they logged somebody in.

use super::world::{KNOWN, World, message, row, settled};
use crate::libsasl2::{Driver, code};

/// How often a host forks.
const FORKS: usize = 20;

#[track_caller]
fn is_in(driver: &mut Driver, ticket: &str, source: &str) {
    let answer = driver.ticket(ticket);
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(
        answer.field("source").as_deref(),
        Some(source),
        "{answer:?}"
    );
}

#[test]
fn both_sides_of_a_fork_know_what_the_other_knows() {
    let world = World::new("forks");
    let mut driver = world.driver(&[]);
    // Before anything is open, and then with everything open.
    for number in 0..FORKS {
        let (ours, theirs) = (format!("PT-{number}-parent"), format!("PT-{number}-child"));
        world.arm(&ours);
        world.arm(&theirs);
        assert_eq!(driver.ask("fork").last, ["forked", "0"]);
        is_in(
            &mut driver,
            KNOWN,
            if number == 0 { "validated" } else { "host" },
        );
        is_in(&mut driver, &theirs, "validated");
        assert_eq!(driver.token(&world.token(number)).code(), code::OK);
        // A grandchild.
        assert_eq!(driver.ask("fork").last, ["forked", "0"]);
        is_in(&mut driver, &theirs, "host");
        assert_eq!(driver.ask("leave").last, ["forked", "0"]);
        is_in(&mut driver, &theirs, "host");
        assert_eq!(driver.ask("leave").last, ["forked", "0"]);
        // The parent goes on as if nothing had been.
        is_in(&mut driver, KNOWN, "host");
        is_in(&mut driver, &theirs, "host");
        is_in(&mut driver, &ours, "validated");
        assert_eq!(driver.token(&world.token(number)).code(), code::OK);
    }
    assert_eq!(world.site.cas.requests().len(), 1 + 2 * FORKS);
    let before = settled(&driver);
    driver.ask("fork");
    driver.ask(&format!("many CASPT 100 {}", message(KNOWN)));
    driver.ask("leave");
    let after = settled(&driver);
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert_eq!(world.site.kit.syslog().tail(), "");
    row(
        "the host forks, and its child does, after loading and after logins",
        2 * FORKS + 1,
        "all in, on both sides, with the sessions of the other",
        "nothing",
    );
}
