//! Threads of a daemon that have no store to share, with one ticket: the engine as it is, and a CAS
//! that counts.

// The figures are what the runs are for.
#![allow(clippy::print_stdout)]

use sasl_sso_races::cas::Cas;
use sasl_sso_races::schedules::at_random;
use sasl_sso_races::{Kept, StandingClock, config};
use shuttle::thread;
use sso_core::auth::{Attempt, Authenticator, Verdict};
use sso_core::credential::{Credential, CredentialKind};
use sso_core::error::Reason;
use sso_core::platform::deadline::Deadline;
use sso_core::trace::CheckObserver;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const THREADS: usize = 3;

/// Of which no directory can be made.
const NOWHERE: &str = "/dev/null/state";

fn authenticator(cas: &Cas) -> Arc<Authenticator> {
    let config = config(cas.url(), Path::new(NOWHERE));
    Arc::new(Authenticator::new(
        config,
        Arc::new(StandingClock::default()),
    ))
}

fn decide(authenticator: &Authenticator, ticket: &str) -> Verdict {
    let credential =
        Credential::parse(CredentialKind::Ticket, ticket.as_bytes()).expect("a ticket");
    let log = Kept::default();
    let attempt = Attempt {
        mechanism: "CASPT",
        service: "imap://mail.example",
        client: Some("192.0.2.1;4711"),
        claimed: None,
        deadline: &Deadline::new(Duration::from_secs(60), &|| false),
        log: &log,
        observer: CheckObserver::NONE,
    };
    authenticator.authenticate(&credential, &attempt)
}

/// Presents one ticket by several threads at once; what each hears, and how often CAS was asked.
fn presented(cas: &Cas, kind: &str) -> (Vec<Verdict>, usize) {
    static TICKETS: AtomicUsize = AtomicUsize::new(0);
    let ticket = format!("PT-{}-{kind}", TICKETS.fetch_add(1, Ordering::Relaxed));
    let authenticator = authenticator(cas);
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (authenticator, ticket) = (Arc::clone(&authenticator), ticket.clone());
            thread::spawn(move || decide(&authenticator, &ticket))
        })
        .collect();
    let verdicts = threads
        .into_iter()
        .map(|thread| thread.join().expect("a verdict"));
    (verdicts.collect(), cas.asked(&ticket))
}

#[test]
fn cas_is_asked_once_about_a_ticket_that_several_threads_bring() {
    let cas = Cas::start();
    let explored = at_random(200, move || {
        let (verdicts, asked) = presented(&cas, "good");
        for verdict in verdicts {
            let user = verdict.result.expect("a good ticket");
            assert_eq!(user.mail_user.as_str(), "alice");
        }
        assert_eq!(asked, 1);
    });
    println!("a good ticket: {explored:?}");
}

#[test]
fn cas_is_asked_once_about_one_that_it_refuses() {
    let cas = Cas::start();
    let explored = at_random(200, move || {
        let (verdicts, asked) = presented(&cas, "wrong");
        for verdict in verdicts {
            let failure = verdict.result.expect_err("a wrong ticket");
            assert_eq!(failure.reason(), Reason::TicketRefused);
        }
        assert_eq!(asked, 1);
    });
    println!("a refused ticket: {explored:?}");
}
