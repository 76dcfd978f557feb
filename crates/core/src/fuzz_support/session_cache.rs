//! Fuzz targets for the contents of the session cache, which may have been written by anybody.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::time::Duration;

use crate::fuzz_support::policy::STOPPED_CLOCK;
use crate::platform::clock::{BootTime, Clock};
use crate::session_cache::cache_key::{Key, Secret, unsealed};
pub(crate) use crate::session_cache::circuit_breaker::{BreakerRecord, Permission};
use crate::session_cache::entry::{ExpiryContext, Lifetimes, NegativeEntry, Session};
pub(crate) use crate::session_cache::flush_log::Selector;
use crate::session_cache::rate_bucket::BucketState;

/// A record of the session cache, with or without its seal. Only what this host has sealed for this
/// key is read, and what is read is serialized to the same.
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
    // One bit of the record, chosen by the input.
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
    let (now, wall) = (STOPPED_CLOCK.now(), STOPPED_CLOCK.wall());
    let lifetimes = Lifetimes {
        absolute: Duration::from_secs(900),
        idle: Duration::from_secs(300),
    };
    let Some(session) = Session::decode(data) else {
        let ending = ExpiryContext { wall, lifetimes };
        assert!(!Session::is_alive_in(data, now, &ending));
        return;
    };
    assert_eq!(Session::since(data), Some(session.since));
    let is_alive = |now: BootTime| session.is_alive(now, wall, &lifetimes);
    // No contents of a record prolong it beyond the options.
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
    // A negative entry ends after half a minute.
    let half_a_minute = refusal.until.as_millis().saturating_sub(30_001);
    assert!(!refusal.is_alive(refusal.until));
    assert!(!refusal.is_alive(BootTime::from_millis(half_a_minute)) || half_a_minute == 0);
}

/// The small records that processes share: flushes, circuit breakers, rate limits, keys.
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

/// Whatever the record of a circuit breaker contains, a login may make a trial within a minute and
/// two seconds, and an answer closes the breaker.
fn check_breaker(data: &[u8]) {
    let now = STOPPED_CLOCK.now();
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

/// After the next charge, no bucket stays empty for longer than a minute.
fn check_account(data: &[u8]) {
    if let Some(account) = BucketState::decode(data) {
        assert_eq!(account.encode(), data);
        account.check(STOPPED_CLOCK.now());
    }
}
