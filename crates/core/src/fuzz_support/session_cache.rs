//! What is kept, before the fuzzer: whoever can write the store may write anything.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::time::Duration;

use crate::fuzz_support::policy::STILL;
use crate::platform::clock::{BootTime, Clock};
use crate::session_cache::cache_key::{Key, Secret, unsealed};
pub(crate) use crate::session_cache::circuit_breaker::{BreakerRecord, Permission};
use crate::session_cache::entry::{Ending, Lifetimes, NegativeEntry, Session};
pub(crate) use crate::session_cache::flush_log::Selector;
use crate::session_cache::rate_bucket::Account;

/// A record as it stands in the store, with its seal or without: nothing is read but
/// what this host has sealed for this key, and what is read is written the same.
pub(crate) fn record(data: &[u8]) {
    let secret = Secret::new(&[7; Secret::LENGTH]);
    let key = secret.key(&[b"ticket", data]);
    assert_eq!(secret.opened(&key, data), None);
    check_session(data);
    check_refusal(data);
    if let Some(unsealed) = unsealed(data) {
        check_session(unsealed);
    }
    let sealed = secret.sealed(&key, data.to_vec());
    assert_eq!(secret.opened(&key, &sealed), Some(data));
    assert_eq!(unsealed(&sealed), Some(data));
    let other = Secret::new(&[8; Secret::LENGTH]);
    assert_eq!(other.opened(&key, &sealed), None);
    assert_eq!(secret.opened(&secret.key(&[b"token", data]), &sealed), None);
    // A bit of it, which one is up to what it is of.
    let at = data
        .iter()
        .fold(7_usize, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    let mut forged = sealed.clone();
    let length = forged.len();
    forged[at % length] ^= 1 << (at % 8);
    assert_eq!(secret.opened(&key, &forged), None);
    assert_eq!(secret.opened(&key, &sealed[..at % length]), None);
}

fn check_session(data: &[u8]) {
    let (now, wall) = (STILL.now(), STILL.wall());
    let lifetimes = Lifetimes {
        absolute: Duration::from_secs(900),
        idle: Duration::from_secs(300),
    };
    let Some(session) = Session::decode(data) else {
        let ending = Ending { wall, lifetimes };
        assert!(!Session::is_alive_in(data, now, &ending));
        return;
    };
    assert_eq!(Session::since(data), Some(session.since));
    let is_alive = |now: BootTime| session.is_alive(now, wall, &lifetimes);
    // By nothing that the record says does it outlive what the options say.
    assert!(!is_alive(session.opened.plus(lifetimes.absolute)));
    assert!(!is_alive(session.used.plus(lifetimes.idle)));
    assert!(!is_alive(session.validity.revalidate_at));
    assert!(!is_alive(session.end(&lifetimes)));
    if is_alive(now) {
        assert!(now < session.end(&lifetimes) && wall < session.validity.expires);
    }
    let later = now.plus(Duration::from_secs(1));
    let used = Session::decode(&Session::used_at(data, later)).expect("a session");
    assert_eq!(
        used,
        Session {
            used: later,
            ..session.clone()
        }
    );
    if let Some((mechanism, service)) = Session::origin(data)
        && mechanism.len() <= 80
        && service.len() <= 80
    {
        let origin = crate::session_cache::SessionOrigin::new(mechanism, service, session.since);
        assert_eq!(session.encode(&origin), data);
    }
}

fn check_refusal(data: &[u8]) {
    let Some(refusal) = NegativeEntry::decode(data) else {
        return;
    };
    assert_eq!(refusal.encode(), data);
    // For ever is nothing refused.
    let half_a_minute = refusal.until.as_millis().saturating_sub(30_001);
    assert!(!refusal.is_alive(refusal.until));
    assert!(!refusal.is_alive(BootTime::from_millis(half_a_minute)) || half_a_minute == 0);
}

/// What processes tell one another: of flushes, of servers, of rate limits, of keys.
pub(crate) fn notes(data: &[u8]) {
    check_flush(data);
    check_breaker(data);
    check_account(data);
    crate::fuzz_support::jwt::state(data);
}

fn check_flush(data: &[u8]) {
    let key = Key::read(&[1; Key::LENGTH]).expect("a key");
    let Some(selector) = Selector::decode(data) else {
        return;
    };
    assert_eq!(Selector::decode(&selector.encode()), Some(selector.clone()));
    match &selector {
        Selector::All => assert!(selector.may_concern(&key, &["alice"])),
        Selector::User(user) => assert!(selector.may_concern(&key, &[user])),
        Selector::Digest(prefix) => {
            let is_its = key.to_string().starts_with(prefix.as_str());
            assert_eq!(selector.may_concern(&key, &["alice"]), is_its);
        }
    }
}

/// Whatever is recorded of a server, a login may make a trial within a minute and two seconds,
/// and an answer closes its circuit breaker.
fn check_breaker(data: &[u8]) {
    let now = STILL.now();
    let Some(record) = BreakerRecord::decode(data) else {
        return;
    };
    assert_eq!(record.encode(), data);
    let may_go_on = |record: BreakerRecord, now: BootTime| {
        matches!(
            record.permission(now),
            Permission::Granted | Permission::Trial
        )
    };
    let later = now.plus(Duration::from_secs(62));
    assert!(may_go_on(record, now) || may_go_on(record, later));
    let trial = record.during_trial(now, Duration::from_secs(3_600));
    assert!(may_go_on(trial, later));
    let open = trial.after_trial(now, Some(false));
    assert!(may_go_on(open, now.plus(Duration::from_secs(5))));
    for record in [record, trial, open] {
        assert_eq!(
            record.after_answer(now).permission(now),
            Permission::Granted
        );
    }
}

/// No account is overdrawn for longer than a minute, once it is charged again.
fn check_account(data: &[u8]) {
    if let Some(account) = Account::decode(data) {
        assert_eq!(account.encode(), data);
        account.check(STILL.now());
    }
}
