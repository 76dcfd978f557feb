//! A multi-threaded host application, such as slapd, whose threads log in concurrently.

use super::fault_env::{FaultEnv, idle_usage, outcome_counts, print_row};
use test_support::libsasl2::token_site::oauthbearer;

const THREADS: usize = 16;
const LOGINS: usize = 200;
const CREDENTIALS: usize = 40;

#[test]
fn concurrent_threads_log_in() {
    rounds("threads", 3);
}

/// Like `concurrent_threads_log_in`, for as many rounds as `SSO_TEST_ROUNDS` says.
#[test]
#[ignore = "takes minutes: see make faults"]
fn concurrent_threads_log_in_for_minutes() {
    let rounds_asked = std::env::var("SSO_TEST_ROUNDS").ok();
    let count = rounds_asked.and_then(|text| text.parse().ok());
    rounds("threadslong", count.unwrap_or(200));
}

fn rounds(name: &str, count: usize) {
    let env = FaultEnv::new(name);
    let mut driver = env.driver_under(&["env", "SSO_TEST_THREADS=1"], &[]);
    driver.ask("quiet 1");
    let mut logins = 0;
    let mut before = None;
    for round in 0..count {
        // The credentials are new to all threads and shared by all of them.
        let tickets = (0..CREDENTIALS).map(|number| {
            let ticket = format!("PT-{round}-{number}");
            env.arm(&ticket);
            format!("\0\0{ticket}")
        });
        let tickets = tickets.collect::<Vec<_>>().join("\n");
        let tokens = (0..CREDENTIALS).map(|number| {
            let token = env.token(round * CREDENTIALS + number);
            String::from_utf8(oauthbearer(&token)).expect("a token is UTF-8")
        });
        let tokens = tokens.collect::<Vec<_>>().join("\n");
        for (mechanism, messages) in [("CASPT", tickets), ("OAUTHBEARER", tokens)] {
            let file = env.site.scratch.write("messages", messages);
            driver.ask(&format!("messages {}", file.display()));
            let all = outcome_counts(
                &mut driver,
                &format!("threads {THREADS} {LOGINS} {mechanism}"),
            );
            assert_eq!(all, [THREADS * LOGINS, 0, 0, 0], "{mechanism}");
            logins += THREADS * LOGINS;
        }
        // Between rounds, libsasl2 is shut down and initialized again.
        assert_eq!(driver.ask("reload").last, ["reload", "0"]);
        let descriptors = idle_usage(&driver).descriptors;
        assert_eq!(*before.get_or_insert(descriptors), descriptors);
    }
    // CAS validated each ticket once.
    assert_eq!(env.site.cas.requests().len(), count * CREDENTIALS);
    print_row(
        "16 concurrent threads of one process, shared and distinct credentials, reloads between",
        logins,
        "all accepted, one validation per ticket",
        "nothing",
    );
}
