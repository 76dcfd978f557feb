//! Descriptors exhausted before a login and during it.

use super::world::{KNOWN, World, row, settled};
use crate::libsasl2::{Answer, code};

/// More than a login needs at any moment.
const ENOUGH: usize = 16;

#[test]
fn without_descriptors_nobody_is_refused_and_afterwards_nothing_is_missing() {
    let world = World::new("descriptors");
    let mut old = world.driver(&[]);
    assert_eq!(old.ticket(KNOWN).code(), code::OK);
    assert_eq!(old.token(&world.token(0)).code(), code::OK);
    let before = settled(&old).descriptors;
    let (mut accepted, mut unavailable) = (0, 0);
    let mut judge = |answer: &Answer, left: usize| match answer.code() {
        code::OK => accepted += 1,
        code::UNAVAIL => {
            unavailable += 1;
            // No challenge: the client is not to throw its ticket away.
            assert_eq!(answer.steps.len(), 1, "{left}: {answer:?}");
        }
        _ => panic!("{left}: {answer:?}"),
    };
    for left in 0..ENOUGH {
        // One that has everything open, and one that has yet to open it.
        let mut new = world.driver(&[]);
        for (age, driver) in [("old", &mut old), ("new", &mut new)] {
            let ticket = format!("PT-{left}-{age}");
            world.arm(&ticket);
            driver.ask(&format!("hoard {left}"));
            let known = driver.ticket(KNOWN);
            judge(&known, left);
            assert!(age == "new" || known.code() == code::OK, "{known:?}");
            judge(&driver.ticket(&ticket), left);
            judge(&driver.token(&world.token(left + 1)), left);
            driver.ask("hoard -");
            for ticket in [KNOWN, &ticket] {
                let answer = driver.ticket(ticket);
                assert_eq!(answer.code(), code::OK, "{age} {left}: {answer:?}");
            }
        }
    }
    assert!(accepted > 0 && unavailable > 0);
    assert_eq!(settled(&old).descriptors, before);
    // What was let in meanwhile is known to others, and what CAS was asked, it was asked once.
    let mut other = world.driver(&[]);
    for left in 0..ENOUGH {
        for age in ["old", "new"] {
            let answer = other.ticket(&format!("PT-{left}-{age}"));
            assert_eq!(
                answer.field("source").as_deref(),
                Some("host"),
                "{answer:?}"
            );
        }
    }
    assert_eq!(world.site.cas.requests().len(), 1 + 2 * ENOUGH);
    row(
        "no descriptors left, or up to 15, before and after the store is open",
        accepted + unavailable,
        &format!("{accepted} in, {unavailable} told that the server is unavailable"),
        "nothing: known sessions at once, tickets as soon as there are descriptors",
    );
}
