//! A host of many threads, as slapd is one: all of them log in at once.

use super::world::{World, ends, row, settled};
use crate::libsasl2::token_site::oauthbearer;

const THREADS: usize = 16;
const LOGINS: usize = 200;
const CREDENTIALS: usize = 40;

#[test]
fn threads_of_one_process_log_in_at_once() {
    rounds("threads", 3);
}

/// `SSO_TEST_ROUNDS`: how often.
#[test]
#[ignore = "minutes: see make faults"]
fn threads_of_one_process_log_in_for_minutes() {
    let rounds_asked = std::env::var("SSO_TEST_ROUNDS").ok();
    let count = rounds_asked.and_then(|text| text.parse().ok());
    rounds("threadslong", count.unwrap_or(200));
}

fn rounds(name: &str, count: usize) {
    let world = World::new(name);
    let mut driver = world.driver_under(&["env", "SSO_TEST_THREADS=1"], &[]);
    driver.ask("quiet 1");
    let mut logins = 0;
    let mut before = None;
    for round in 0..count {
        // New to all of them, and the same for all of them.
        let tickets = (0..CREDENTIALS).map(|number| {
            let ticket = format!("PT-{round}-{number}");
            world.arm(&ticket);
            format!("\0\0{ticket}")
        });
        let tickets = tickets.collect::<Vec<_>>().join("\n");
        let tokens = (0..CREDENTIALS).map(|number| {
            let token = world.token(round * CREDENTIALS + number);
            String::from_utf8(oauthbearer(&token)).expect("a message")
        });
        let tokens = tokens.collect::<Vec<_>>().join("\n");
        for (mechanism, messages) in [("CASPT", tickets), ("OAUTHBEARER", tokens)] {
            let file = world.site.scratch.write("messages", messages);
            driver.ask(&format!("messages {}", file.display()));
            let all = ends(
                &mut driver,
                &format!("threads {THREADS} {LOGINS} {mechanism}"),
            );
            assert_eq!(all, [THREADS * LOGINS, 0, 0, 0], "{mechanism}");
            logins += THREADS * LOGINS;
        }
        // Between the rounds the server is ended and begun again.
        assert_eq!(driver.ask("reload").last, ["reload", "0"]);
        let descriptors = settled(&driver).descriptors;
        assert_eq!(*before.get_or_insert(descriptors), descriptors);
    }
    // One question a ticket, whichever threads came with it first.
    assert_eq!(world.site.cas.requests().len(), count * CREDENTIALS);
    row(
        "16 threads of one process at once, shared and distinct credentials, reloads between",
        logins,
        "all in, and CAS asked once for each ticket",
        "nothing",
    );
}
