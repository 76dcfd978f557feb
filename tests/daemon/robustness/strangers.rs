//! Clients send forged tickets: the rate limit bounds the requests to CAS, and valid tickets of
//! other clients are unaffected.

use std::time::{Duration, Instant};
use test_support::daemon::{ask, request};
use test_support::daemon_site::DaemonEnv;
use test_support::imap::Imap;
use test_support::libsasl2::site::PROXY;
use test_support::wait::{PATIENCE, wait_until};

/// Refusals that CAS may be asked for per minute: the bucket refills by one every three seconds.
const RATE_LIMIT: usize = 20;

fn env(name: &str) -> DaemonEnv {
    let limit = RATE_LIMIT.to_string();
    let env = DaemonEnv::new(name, &[("sasl_caspt_rate_limit", &limit)]);
    env.cache_ticket("PT-1-known", "alice");
    env
}

#[test]
fn refused_ticket_is_sent_to_cas_only_once() {
    let env = env("refused");
    let asked = env.cas.requests().len();
    // First three attempts as c-client makes them, then a client that continues.
    for _ in 0..3 {
        let reply = env.login("alice", "PT-2-refused");
        assert_eq!(reply.status_line, "NO Login failed: authentication failure");
    }
    for _ in 0..3 * RATE_LIMIT {
        assert_eq!(env.ask("alice", "PT-2-refused").as_deref(), Some("NO"));
    }
    assert_eq!(env.cas.requests().len(), asked + 1);
    // A single refusal was charged, so other tickets can be validated.
    env.cache_ticket("PT-3-good", "alice");
}

#[test]
fn forged_tickets_are_rate_limited_and_cached_tickets_are_not() {
    let env = env("made-up");
    let asked = env.cas.requests().len();
    let begin = Instant::now();
    let mut refused = 0;
    for number in 0..5 * RATE_LIMIT {
        let ticket = format!("PT-{number}-made-up");
        match env.ask("alice", &ticket).as_deref() {
            Some("NO") => refused += 1,
            None => {}
            answer => panic!("{answer:?}"),
        }
        // Cached tickets are accepted without being charged or delayed.
        assert_eq!(env.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    }
    // The capacity of the bucket, and what was refilled meanwhile.
    let refilled = usize::try_from(begin.elapsed().as_secs()).expect("seconds") / 3 + 1;
    assert!(
        refused >= RATE_LIMIT && refused <= RATE_LIMIT + refilled,
        "{refused}"
    );
    assert_eq!(env.cas.requests().len(), asked + refused);
    let mark = env.mark();
    assert!(env.login("alice", "PT-1-known").ok);

    // A valid ticket gets an outage, not a refusal, and is accepted after some seconds.
    env.cas.arm("PT-0-good", "alice", &[PROXY]);
    let reply = env.login("alice", "PT-0-good");
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    let words = ["outcome=unavailable", "reason=budget_spent"];
    env.wait_for_log(mark, &words);
    let is_good = || {
        env.ask("alice", "PT-0-good")
            .is_some_and(|said| said == "OK")
    };
    assert!(wait_until(Duration::from_secs(8), is_good));
    // From now on its session is cached.
    assert!(env.login("alice", "PT-0-good").ok);
}

#[test]
fn forged_tickets_do_not_delay_valid_tickets() {
    const USERS: usize = 20;
    let env = env("form");
    for number in 0..USERS {
        env.cache_ticket(&format!("PT-{number}-yesterday"), &format!("user{number}"));
    }
    // Every request has a new name, until the limit of all clients of the daemon is reached.
    let is_limited = || {
        (0..100).any(|_| {
            let number = env.cas.requests().len();
            let ticket = format!("PT-{number}-made-up");
            env.ask(&format!("stranger{number}"), &ticket).is_none()
        })
    };
    let mark = env.mark();
    assert!(wait_until(PATIENCE, is_limited));
    env.wait_for_log(mark, &["reason=budget_spent"]);
    for number in 0..USERS {
        let user = format!("user{number}");
        // Forged tickets under the users' own names do not affect their valid ones.
        env.ask(&user, &format!("PT-{number}-typed"));
        env.cache_ticket(&format!("PT-{number}-typed-by-the-user"), &user);
        // Neither is the webmail affected, whose users all share its address.
        let ticket = format!("PT-{number}-webmail");
        env.cas.arm(&ticket, &user, &[PROXY]);
        let message = format!("\0{user}\0{ticket}");
        let mut imap = Imap::connect(env.cyrus.imap_port());
        let reply = imap.authenticate("CASPT", message.as_bytes(), &[]);
        assert!(reply.ok, "{reply:?}");
    }
}

#[test]
fn client_with_a_known_address_has_its_own_rate_limit() {
    let env = env("address");
    let ask_as = |client: &str, ticket: &str| {
        let bytes = request(&["alice", ticket, "imap", "", client]);
        ask(env.daemon.mux(), &bytes)
    };
    let is_limited = || {
        (0..2 * RATE_LIMIT).any(|number| ask_as("192.0.2.66", &format!("PT-{number}-x")).is_none())
    };
    assert!(wait_until(PATIENCE, is_limited));
    for (client, answer) in [("192.0.2.66", None), ("192.0.2.7", Some("OK"))] {
        env.cas.arm("PT-2-good", "alice", &[PROXY]);
        assert_eq!(ask_as(client, "PT-2-good").as_deref(), answer, "{client}");
    }
}
