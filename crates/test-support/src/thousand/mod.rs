//! A thousand logins of fifty users to a real Cyrus, over forty concurrent connections, with
//! tickets of a real CAS server.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use crate::authority::Authority;
use crate::cas::CasServer;
use crate::cyrus::Cyrus;
use crate::imap::{Imap, Reply};
use crate::portal::Portal;
use crate::scratch::Scratch;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;

pub const USERS: usize = 50;
pub const LOGINS: usize = 1_000;
const CONNECTIONS: usize = 40;
const SERVICE: &str = "imap://localhost";

/// The result of a run.
#[derive(Debug, Default)]
pub struct Run {
    pub succeeded: usize,
    pub failures: Vec<String>,
    pub processes: BTreeSet<u32>,
}

/// The lines of imapd.conf for a Cyrus that accepts tickets of these portals.
pub fn lines(
    scratch: &Scratch,
    authority: &Authority,
    cas: &CasServer,
    portals: &[&Portal],
) -> Vec<(String, String)> {
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
    lines.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// The name of a user.
pub fn user(number: usize) -> String {
    format!("user{number}")
}

/// Fetches a ticket of each portal for each user, several at a time, and returns each with its
/// user's name.
pub fn tickets(portals: &[&Portal]) -> Vec<(String, String)> {
    let wanted = (0..USERS).flat_map(|user| portals.iter().map(move |portal| (user, *portal)));
    let wanted = Mutex::new(wanted.collect::<VecDeque<_>>());
    let tickets = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((number, portal)) = wanted.lock().expect("the list").pop_front()
                    else {
                        return;
                    };
                    let user = user(number);
                    let ticket = portal.proxy_ticket(&user, SERVICE);
                    tickets.lock().expect("the list").push((user, ticket));
                }
            });
        }
    });
    tickets.into_inner().expect("the list")
}

/// Repeats all elements equally often up to [`LOGINS`], in an order that is the same in every run.
fn shuffled<T>(all: &[T]) -> VecDeque<&T> {
    let mut order: Vec<&T> = all.iter().cycle().take(LOGINS).collect();
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

/// Logs in a thousand times, each time over a new connection.
pub fn log_in_all<T: Sync>(
    port: u16,
    all: &[T],
    log_in: impl Fn(&mut Imap, &T) -> Reply + Sync,
) -> Run {
    let queue = Mutex::new(shuffled(all));
    let run = Mutex::new(Run::default());
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let Some(one) = queue.lock().expect("the queue").pop_front() else {
                        return;
                    };
                    let mut imap = Imap::connect(port);
                    let reply = log_in(&mut imap, one);
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

impl Run {
    /// Checks that all logins succeeded, by many processes, and that CAS was asked as often as
    /// expected.
    #[track_caller]
    pub fn assert_all_in(&self, cyrus: &Cyrus, (asked, expected): (usize, usize)) {
        assert_eq!(
            self.succeeded,
            LOGINS,
            "{:?}\n{}",
            self.failures,
            cyrus.log().tail()
        );
        assert_eq!(asked, expected);
        // A single process could have answered from its memory tier.
        assert!(self.processes.len() > 10, "{:?}", self.processes);
    }
}
