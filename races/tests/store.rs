//! Threads of one process whose store is removed while they use it.

// The figures are what the runs are for.
#![allow(clippy::print_stdout)]

use sasl_sso_races::schedules::at_random;
use sasl_sso_races::site::Site;
use shuttle::thread;
use sso_core::credential::CredentialKind;
use sso_core::metrics::{Counters, Decider};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TICKET: Option<CredentialKind> = Some(CredentialKind::Ticket);

/// A login: it looks what is known, and is counted.
fn login(site: &Site) {
    let access = site.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
    access.put_note(&key, b"was here".to_vec());
    drop(access);
    site.sessions.count(TICKET, Decider::Host, None, &site.log);
}

fn counted(state: &Path) -> u64 {
    let counters = Counters::open(state).expect("counters");
    counters.logins(TICKET, Decider::Host, None)
}

#[test]
fn removed_cache_is_replaced_by_one_process() {
    let explored = at_random(1_000, || {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        let site = Site::new(&state);
        drop(site.open());
        let threads = (0..2).map(|_| {
            let site = Arc::clone(&site);
            thread::spawn(move || login(&site))
        });
        let mut threads: Vec<_> = threads.collect();
        let (one, gone) = (Arc::clone(&site), directory.path().join("gone"));
        let old = state.clone();
        threads.push(thread::spawn(move || {
            thread::yield_now();
            fs::rename(&old, gone).expect("the directory");
            one.clock.advance(Duration::from_secs(1));
        }));
        for thread in threads {
            thread.join().expect("a thread");
        }
        // It may have been found out while somebody still held the old one.
        for _ in 0..2 {
            site.clock.advance(Duration::from_secs(5));
            drop(site.open());
        }
        let access = site.open();
        assert!(access.has_host(), "{:?}", site.log.lines());
        let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
        access.put_note(&key, b"is here".to_vec());
        assert_eq!(access.note(&key).as_deref(), Some(&b"is here"[..]));
        drop(access);
        site.sessions.count(TICKET, Decider::Host, None, &site.log);
        let before = counted(&state);
        site.sessions.count(TICKET, Decider::Host, None, &site.log);
        assert_eq!(counted(&state), before + 1);
    });
    println!("a store that is removed: {explored:?}");
}
