//! What threads share in one process: the tiers, how they are opened, what is noted of a server that
//! is silent and of a client whose tickets are refused, and the counters.

// The figures are what the runs are for.
#![allow(clippy::print_stdout)]

use sasl_sso_races::schedules::{at_random, in_every_order};
use sasl_sso_races::site::{Site, at_once};
use shuttle::thread;
use sso_core::credential::CredentialKind;
use sso_core::session_cache::{
    Admission, Channel, Charge, Claimed, Outcome, Permission, RateLimits, Requester,
    SessionCacheHandle,
};
use std::sync::Arc;
use std::time::Duration;

const SERVER: &str = "https://cas.example";
const TIMEOUT: Duration = Duration::from_secs(5);

fn silent(site: &Site) {
    let access = site.open();
    let breaker = access.breaker(SERVER);
    access.record_outcome(&breaker, access.now(), Outcome::TimedOut);
}

fn permission(site: &Site) -> Permission {
    let access = site.open();
    let permission = access.permission(&access.breaker(SERVER), TIMEOUT);
    permission.expect("the memory tier can be read")
}

/// The rate limit of one client, of three refused tickets a minute.
fn limits(access: &SessionCacheHandle<'_>) -> RateLimits {
    let requester = Requester::new(Some("192.0.2.1"), Channel::Caspt, Some("alice"));
    access.rate_limits(&requester, 3, &access.breaker(SERVER))
}

#[test]
fn concurrent_opening_yields_one_cache_and_logs_once() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        let keys = at_once(&site, 3, |site| {
            let access = site.open();
            access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1")
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(site.log.lines().len(), 1);
    });
    println!("opening: {explored:?}");
}

#[test]
fn no_time_out_is_lost_on_the_circuit_breaker() {
    let explored = in_every_order(|| {
        let site = Site::without_a_store();
        silent(&site);
        assert_eq!(permission(&site), Permission::Granted);
        at_once(&site, 2, silent);
        assert_eq!(permission(&site), Permission::Trial);
    });
    println!("time-outs: {explored:?}");
}

#[test]
fn one_login_makes_the_trial_and_all_go_on_when_it_is_answered() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        for _ in 0..3 {
            silent(&site);
        }
        let permissions = at_once(&site, 3, |site| {
            let permission = permission(site);
            if permission == Permission::Trial {
                let access = site.open();
                access.end_trial(&access.breaker(SERVER), Some(true));
            }
            permission
        });
        let count = |wanted| permissions.iter().filter(|found| **found == wanted).count();
        assert_eq!(count(Permission::Trial), 1);
        assert_eq!(count(Permission::Denied), 0);
        assert_eq!(permission(&site), Permission::Granted);
    });
    println!("the trial: {explored:?}");
}

#[test]
fn one_login_makes_the_trial_when_the_pause_is_over_and_the_others_fail() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        for _ in 0..3 {
            silent(&site);
        }
        assert_eq!(permission(&site), Permission::Trial);
        {
            let access = site.open();
            access.end_trial(&access.breaker(SERVER), Some(false));
        }
        site.clock.advance(Duration::from_secs(5));
        let permissions = at_once(&site, 3, permission);
        let count = |wanted| permissions.iter().filter(|found| **found == wanted).count();
        assert_eq!(count(Permission::Trial), 1);
        assert_eq!(count(Permission::Denied), 2);
    });
    println!("the trial after the pause: {explored:?}");
}

#[test]
fn no_charge_and_no_refund_is_lost_on_the_rate_limit() {
    fn charge(site: &Site) {
        let access = site.open();
        access.settle(&limits(&access), Admission::TRUSTED, Some(Charge::Refused));
    }
    fn has_room(site: &Site) -> bool {
        let access = site.open();
        access.check_rate(&limits(&access)).is_ok()
    }
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        at_once(&site, 2, charge);
        assert!(has_room(&site));
        // One that was accepted makes up for one, whichever comes first.
        let (one, other) = (Arc::clone(&site), Arc::clone(&site));
        let refunding = thread::spawn(move || {
            let access = one.open();
            access.refund(&limits(&access), Admission::TRUSTED, Claimed::Own);
        });
        let charging = thread::spawn(move || charge(&other));
        refunding.join().expect("a thread");
        charging.join().expect("a thread");
        assert!(has_room(&site));
        charge(&site);
        assert!(!has_room(&site));
    });
    println!("the rate limit: {explored:?}");
}

#[test]
fn one_at_a_time_has_the_right_to_validate() {
    let explored = in_every_order(|| {
        let site = Site::without_a_store();
        let claims = at_once(&site, 2, |site| {
            let access = site.open();
            let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
            let claim = access.try_lock(&key);
            // None, while it is held.
            let second = claim.is_some() && access.try_lock(&key).is_some();
            (claim.is_some(), second)
        });
        assert!(claims.iter().any(|(claimed, _)| *claimed));
        assert!(claims.iter().all(|(_, twice)| !twice));
        let access = site.open();
        let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
        assert!(access.try_lock(&key).is_some());
    });
    println!("claims: {explored:?}");
}

#[test]
fn concurrent_admissions_fit_the_bucket_of_the_name() {
    let explored = at_random(20_000, || {
        let site = Site::without_a_store();
        {
            let access = site.open();
            access.settle(&limits(&access), Admission::TRUSTED, Some(Charge::Refused));
        }
        let admitted = at_once(&site, 3, |site| {
            let access = site.open();
            let limits = limits(&access);
            let allowance = access.check_rate(&limits);
            allowance
                .and_then(|allowance| access.admit(&limits, &allowance))
                .is_ok()
        });
        assert_eq!(admitted.iter().filter(|is| **is).count(), 2);
    });
    println!("admissions: {explored:?}");
}
