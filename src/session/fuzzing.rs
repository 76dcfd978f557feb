//! What is kept, before the fuzzer: whoever can write the store may write anything.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::time::Duration;

use super::breaker::Silence;
use super::budget::Spent;
use super::flushes::Selector;
use super::key::{Key, Secret, unsealed};
use super::record::{Ending, Lifetimes, Refusal, Session};
use crate::clock::{Clock, Moment};
use crate::fuzzing::site::STILL;

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
    let is_alive = |now: Moment| session.is_alive(now, wall, &lifetimes);
    // By nothing that the record says does it outlive what the options say.
    assert!(!is_alive(session.opened.plus(lifetimes.absolute)));
    assert!(!is_alive(session.used.plus(lifetimes.idle)));
    assert!(!is_alive(session.bounds.holds));
    assert!(!is_alive(session.end(&lifetimes)));
    if is_alive(now) {
        assert!(now < session.end(&lifetimes) && wall < session.bounds.expires);
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
    if let Some((mechanism, service)) = Session::opening(data)
        && mechanism.len() <= 80
        && service.len() <= 80
    {
        let opening = super::Opening::new(mechanism, service, session.since);
        assert_eq!(session.encode(&opening), data);
    }
}

fn check_refusal(data: &[u8]) {
    let Some(refusal) = Refusal::decode(data) else {
        return;
    };
    assert_eq!(refusal.encode(), data);
    // For ever is nothing refused.
    let half_a_minute = refusal.until.as_millis().saturating_sub(30_001);
    assert!(!refusal.is_alive(refusal.until));
    assert!(!refusal.is_alive(Moment::from_millis(half_a_minute)) || half_a_minute == 0);
}

/// What processes tell one another: of flushes, of servers, of budgets, of keys.
pub(crate) fn notes(data: &[u8]) {
    check_flush(data);
    check_silence(data);
    check_spent(data);
    crate::jwt::fuzzing::state(data);
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

/// No server is left alone for longer than the pause, whatever is written of it.
fn check_silence(data: &[u8]) {
    let now = STILL.now();
    let Some(silence) = Silence::decode(data) else {
        return;
    };
    assert_eq!(silence.encode(), data);
    let pause = Duration::from_secs(5);
    assert!(!silence.is_avoided(now) || !silence.is_avoided(now.plus(pause)));
    let more = Silence::more(Some(silence), now);
    assert!(!more.is_avoided(now.plus(pause)));
    assert!(!silence.during_trial(now).wants_trial(now));
}

/// Nobody's budget is spent for longer than a minute, once it is charged again.
fn check_spent(data: &[u8]) {
    let now = STILL.now();
    let Some(spent) = Spent::decode(data) else {
        return;
    };
    assert_eq!(spent.encode(), data);
    for budget in [1, 3_000, 60_000, u64::MAX] {
        assert!(spent.owes(now) || spent.leaves(budget, now));
        let more = Spent::more(Some(spent), budget, now);
        assert!(more.leaves(budget, now.plus(Duration::from_secs(60))));
        let less = spent.less(budget);
        assert!(!spent.owes(now) || !spent.leaves(budget, now) || less.leaves(budget, now));
    }
}
