//! What threads share in one process: the tiers, how they are opened, what is noted of a server that
//! is silent and of a client whose tickets are refused, and the counters.

// The figures are what the runs are for.
#![allow(clippy::print_stdout)]

use sasl_sso_races::schedules::{at_random, in_every_order};
use sasl_sso_races::site::{Site, at_once};
use shuttle::thread;
use sso::credential::Kind;
use std::sync::Arc;
use std::time::Duration;

const SERVER: &str = "https://cas.example";
const PAYER: &str = "192.0.2.1";

fn silent(site: &Site) {
    let access = site.open();
    access.asked(&access.breaker(SERVER), false);
}

fn may_ask(site: &Site) -> bool {
    let access = site.open();
    access.may_ask(&access.breaker(SERVER)).is_ok()
}

#[test]
fn whoever_opens_them_first_all_have_the_same_and_the_trouble_is_told_once() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        let keys = at_once(&site, 3, |site| {
            let access = site.open();
            access.key(Kind::Ticket, "imap://m", &[0; 32], "PT-1")
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(site.log.lines().len(), 1);
    });
    println!("opening: {explored:?}");
}

#[test]
fn no_silence_of_a_server_is_lost() {
    let explored = in_every_order(|| {
        let site = Site::without_a_store();
        silent(&site);
        assert!(may_ask(&site));
        at_once(&site, 2, silent);
        assert!(!may_ask(&site));
    });
    println!("silences: {explored:?}");
}

#[test]
fn of_many_who_come_when_its_pause_is_over_one_asks() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        for _ in 0..3 {
            silent(&site);
        }
        assert!(!may_ask(&site));
        site.clock.advance(Duration::from_secs(5));
        let asking = at_once(&site, 3, may_ask);
        assert_eq!(asking.iter().filter(|asks| **asks).count(), 1);
    });
    println!("the trial: {explored:?}");
}

#[test]
fn no_refusal_is_lost_on_the_budget() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        let may_spend = |site: &Site| site.open().may_spend(PAYER, 3).is_ok();
        at_once(&site, 2, |site| site.open().spend(PAYER, 3));
        assert!(may_spend(&site));
        // One that was good makes up for one, whichever comes first.
        let spend = |site: &Site| site.open().spend(PAYER, 3);
        let (one, other) = (Arc::clone(&site), Arc::clone(&site));
        let earning = thread::spawn(move || one.open().earn(PAYER, 3));
        let spending = thread::spawn(move || spend(&other));
        earning.join().expect("a thread");
        spending.join().expect("a thread");
        assert!(may_spend(&site));
        site.open().spend(PAYER, 3);
        assert!(!may_spend(&site));
    });
    println!("the budget: {explored:?}");
}

#[test]
fn one_at_a_time_has_the_right_to_validate() {
    let explored = in_every_order(|| {
        let site = Site::without_a_store();
        let claims = at_once(&site, 2, |site| {
            let access = site.open();
            let key = access.key(Kind::Ticket, "imap://m", &[0; 32], "PT-1");
            let claim = access.claim(&key);
            // None, while it is held.
            let second = claim.is_some() && access.claim(&key).is_some();
            (claim.is_some(), second)
        });
        assert!(claims.iter().any(|(claimed, _)| *claimed));
        assert!(claims.iter().all(|(_, twice)| !twice));
        let access = site.open();
        let key = access.key(Kind::Ticket, "imap://m", &[0; 32], "PT-1");
        assert!(access.claim(&key).is_some());
    });
    println!("claims: {explored:?}");
}
