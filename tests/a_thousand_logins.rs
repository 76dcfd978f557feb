//! The main promise, on a real Cyrus and a real CAS server: a ticket opens IMAP on every
//! reconnect, whichever process answers, and CAS is asked once.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The figures are what the run is for.
#![allow(clippy::print_stdout)]

mod harness;
mod libsasl2;

use harness::authority::Authority;
use harness::cas::CasServer;
use harness::cyrus::{Cyrus, Options};
use harness::imap::Imap;
use harness::portal::Portal;
use harness::scratch::Scratch;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

const USERS: usize = 50;
const LOGINS: usize = 1_000;
const CONNECTIONS: usize = 40;
const SERVICE: &str = "imap://localhost";

/// What a run came to.
#[derive(Debug, Default)]
struct Run {
    succeeded: usize,
    failures: Vec<String>,
    processes: BTreeSet<u32>,
}

/// A real Cyrus that trusts these portals of a real CAS.
fn cyrus(scratch: &Scratch, authority: &Authority, cas: &CasServer, portals: &[&Portal]) -> Cyrus {
    let proxies: Vec<String> = portals.iter().map(|portal| portal.pgt_url()).collect();
    let lines = [
        ("sasl_caspt_url", cas.url()),
        (
            "sasl_caspt_ca_file",
            authority.write_ca(scratch).display().to_string(),
        ),
        ("sasl_caspt_proxies", proxies.join(" ")),
        ("sasl_caspt_timeout", "20".to_owned()),
    ];
    let options = Options {
        plugin: Some(libsasl2::plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        ..Options::default()
    };
    Cyrus::start(scratch, authority, options)
}

/// Gets a ticket of each portal for each user, several at a time.
fn tickets(portals: &[&Portal]) -> Vec<String> {
    let wanted = (0..USERS).flat_map(|user| portals.iter().map(move |portal| (user, *portal)));
    let wanted = Mutex::new(wanted.collect::<VecDeque<_>>());
    let tickets = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((user, portal)) = wanted.lock().expect("the list").pop_front() else {
                        return;
                    };
                    let ticket = portal.proxy_ticket(&format!("user{user}"), SERVICE);
                    tickets.lock().expect("the list").push(ticket);
                }
            });
        }
    });
    tickets.into_inner().expect("the list")
}

/// Every ticket as often as every other, in an order that is shuffled the same way each time.
fn shuffled(tickets: &[String]) -> VecDeque<String> {
    let mut order: Vec<String> = tickets.iter().cycle().take(LOGINS).cloned().collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(
            last,
            usize::try_from(state % (last as u64 + 1)).expect("an index"),
        );
    }
    order.into()
}

fn log_in_all(cyrus: &Cyrus, tickets: &[String]) -> Run {
    let queue = Mutex::new(shuffled(tickets));
    let run = Mutex::new(Run::default());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let Some(ticket) = queue.lock().expect("the queue").pop_front() else {
                        return;
                    };
                    let mut imap = Imap::connect(cyrus.imap_port());
                    let message = format!("\0\0{ticket}");
                    let reply = imap.authenticate("CASPT", message.as_bytes(), &[b"\x01"]);
                    let mut run = run.lock().expect("the run");
                    if reply.ok {
                        run.succeeded += 1;
                        run.processes.extend(reply.session_pid);
                        drop(run);
                        imap.logout();
                    } else {
                        run.failures.push(reply.status_line);
                    }
                }
            });
        }
    });
    run.into_inner().expect("the run")
}

fn all_succeed(name: &str, portals: &[&str]) {
    let scratch = Scratch::new(name);
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let portals: Vec<Portal> = portals
        .iter()
        .map(|name| Portal::start(&authority, &cas, name))
        .collect();
    let portals: Vec<&Portal> = portals.iter().collect();
    let cyrus = cyrus(&scratch, &authority, &cas, &portals);
    let tickets = tickets(&portals);
    let before = cas.validations();
    let run = log_in_all(&cyrus, &tickets);
    println!(
        "{name}: {} of {LOGINS} logins by {} processes, CAS asked {} times",
        run.succeeded,
        run.processes.len(),
        cas.validations() - before
    );
    assert_eq!(
        run.succeeded,
        LOGINS,
        "{:?}\n{}",
        run.failures,
        cyrus.log().tail()
    );
    assert_eq!(cas.validations() - before, USERS * portals.len());
    // One process alone could have done it from memory.
    assert!(run.processes.len() > 10, "{:?}", run.processes);
}

#[test]
fn of_fifty_users_each_with_one_ticket() {
    all_succeed("webmail", &["webmail"]);
}

#[test]
fn of_fifty_users_each_with_a_ticket_of_the_portal_and_one_of_the_webmail() {
    all_succeed("both", &["portal", "webmail"]);
}
