//! Who has no ticket makes some up: CAS is asked about so many and no more, and nobody pays for it
//! who has a good one.

use std::time::{Duration, Instant};
use test_support::daemon::{ask, request};
use test_support::daemon_site::Site;
use test_support::imap::Imap;
use test_support::libsasl2::site::PROXY;
use test_support::wait::{PATIENCE, wait_until};

/// The refusals that CAS may be asked for in a minute: one more every three seconds.
const BUDGET: usize = 20;

fn site(name: &str) -> Site {
    let budget = BUDGET.to_string();
    let site = Site::new(name, &[("sasl_caspt_rate_limit", &budget)]);
    site.know("PT-1-known", "alice");
    site
}

#[test]
fn a_refused_ticket_is_asked_of_cas_once_however_often_it_comes() {
    let site = site("refused");
    let asked = site.cas.requests().len();
    // As c-client does, which tries a password three times, and then somebody who goes on.
    for _ in 0..3 {
        let reply = site.login("alice", "PT-2-refused");
        assert_eq!(reply.status_line, "NO Login failed: authentication failure");
    }
    for _ in 0..3 * BUDGET {
        assert_eq!(site.ask("alice", "PT-2-refused").as_deref(), Some("NO"));
    }
    assert_eq!(site.cas.requests().len(), asked + 1);
    // One refusal, one of the budget: there is enough for others.
    site.know("PT-3-good", "alice");
}

#[test]
fn made_up_tickets_cost_cas_the_budget_and_others_nothing() {
    let site = site("made-up");
    let asked = site.cas.requests().len();
    let begin = Instant::now();
    let mut refused = 0;
    for number in 0..5 * BUDGET {
        let ticket = format!("PT-{number}-made-up");
        match site.ask("alice", &ticket).as_deref() {
            Some("NO") => refused += 1,
            None => {}
            answer => panic!("{answer:?}"),
        }
        // What is known is answered by what is known: neither counted nor kept waiting.
        assert_eq!(site.ask("alice", "PT-1-known").as_deref(), Some("OK"));
    }
    // What the budget holds, and what came in since.
    let refilled = usize::try_from(begin.elapsed().as_secs()).expect("seconds") / 3 + 1;
    assert!(
        refused >= BUDGET && refused <= BUDGET + refilled,
        "{refused}"
    );
    assert_eq!(site.cas.requests().len(), asked + refused);
    let mark = site.mark();
    assert!(site.login("alice", "PT-1-known").ok);

    // A good ticket has an outage, which is nobody's fault, and is good again in seconds.
    site.cas.arm("PT-0-good", "alice", &[PROXY]);
    let reply = site.login("alice", "PT-0-good");
    assert_eq!(reply.status_line, "NO Login failed: generic failure");
    let words = ["outcome=unavailable", "reason=budget_spent"];
    site.said(mark, &words);
    let is_good = || {
        site.ask("alice", "PT-0-good")
            .is_some_and(|said| said == "OK")
    };
    assert!(wait_until(Duration::from_secs(8), is_good));
    // From now on it is known, too.
    assert!(site.login("alice", "PT-0-good").ok);
}

#[test]
fn made_up_tickets_at_the_daemon_keep_no_good_ticket_waiting() {
    const USERS: usize = 20;
    let site = site("form");
    for number in 0..USERS {
        site.know(&format!("PT-{number}-yesterday"), &format!("user{number}"));
    }
    // A new name for each, more than CAS is asked about in a minute for all clients of the daemon.
    let is_limited = || {
        (0..100).any(|_| {
            let number = site.cas.requests().len();
            let ticket = format!("PT-{number}-made-up");
            site.ask(&format!("stranger{number}"), &ticket).is_none()
        })
    };
    let mark = site.mark();
    assert!(wait_until(PATIENCE, is_limited));
    site.said(mark, &["reason=budget_spent"]);
    for number in 0..USERS {
        let user = format!("user{number}");
        // Under their own names, too.
        site.ask(&user, &format!("PT-{number}-typed"));
        site.know(&format!("PT-{number}-typed-by-the-user"), &user);
        // And the webmail's own, at an address where all have a new name.
        let ticket = format!("PT-{number}-webmail");
        site.cas.arm(&ticket, &user, &[PROXY]);
        let message = format!("\0{user}\0{ticket}");
        let mut imap = Imap::connect(site.cyrus.imap_port());
        let reply = imap.authenticate("CASPT", message.as_bytes(), &[]);
        assert!(reply.ok, "{reply:?}");
    }
}

#[test]
fn a_client_whose_address_is_told_pays_for_itself() {
    let site = site("address");
    let come = |client: &str, ticket: &str| {
        let bytes = request(&["alice", ticket, "imap", "", client]);
        ask(site.daemon.mux(), &bytes)
    };
    let spent =
        || (0..2 * BUDGET).any(|number| come("192.0.2.66", &format!("PT-{number}-x")).is_none());
    assert!(wait_until(PATIENCE, spent));
    for (client, answer) in [("192.0.2.66", None), ("192.0.2.7", Some("OK"))] {
        site.cas.arm("PT-2-good", "alice", &[PROXY]);
        assert_eq!(come(client, "PT-2-good").as_deref(), answer, "{client}");
    }
}
