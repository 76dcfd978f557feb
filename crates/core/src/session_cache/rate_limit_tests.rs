//! Tests of what the buckets of names, clients and all admit.

use super::*;
use crate::session_cache::circuit_breaker::{Outcome, Permission};
use crate::session_cache::tests::{CacheEnv, cache_env};
use std::path::Path;

const LIMIT: u64 = 20;

/// A cache in memory only.
fn memory_env() -> CacheEnv {
    cache_env(Path::new("/dev/null/state"))
}

const WEBMAIL: Option<&str> = Some("192.0.2.7;4711");

fn limits(
    access: &SessionCacheHandle<'_>,
    address: Option<&str>,
    way: Channel,
    name: Option<&str>,
) -> RateLimits {
    let server = access.breaker("https://cas");
    access.rate_limits(&Requester::new(address, way, name), LIMIT, &server)
}

fn admit(access: &SessionCacheHandle<'_>, limits: &RateLimits) -> Result<Admission, Failure> {
    let allowance = access.check_rate(limits)?;
    access.admit(limits, &allowance)
}

/// The number of `count` tickets that are admitted and charged, each under the next name of
/// `limits`.
fn charged(
    access: &SessionCacheHandle<'_>,
    charge: Charge,
    count: usize,
    limits: impl Fn(usize) -> RateLimits,
) -> usize {
    let put = |number: &usize| {
        let limits = limits(*number);
        let admission = admit(access, &limits);
        if let Ok(admission) = admission {
            access.settle(&limits, admission, Some(charge));
        }
        admission.is_ok()
    };
    (0..count).filter(put).count()
}

#[test]
fn requesters_differ_by_network_channel_and_name() {
    let of = |address, way, name| Requester::new(Some(address), way, Some(name));
    let caspt = |address| of(address, Channel::Caspt, "alice");
    assert_eq!(caspt("192.0.2.1;4711").address.unwrap(), "192.0.2.1");
    assert_eq!(caspt("::ffff:192.0.2.1;1").address.unwrap(), "192.0.2.1");
    assert_eq!(caspt("2001:db8::1;4711").address.unwrap(), "2001:db8::");
    assert_eq!(caspt("2001:db8::2:3:4:5").address.unwrap(), "2001:db8::");
    assert_eq!(caspt("nonsense").address, None);
    assert_eq!(caspt("192.0.2.1"), of("192.0.2.1", Channel::Caspt, "Alice"));
    assert_ne!(
        caspt("192.0.2.1"),
        of("192.0.2.1", Channel::Password, "alice")
    );
    assert_ne!(caspt("192.0.2.1"), of("192.0.2.1", Channel::Caspt, "bob"));
    assert_eq!(Channel::of_mechanism("CASPT"), Channel::Caspt);
    assert_eq!(Channel::of_mechanism("PLAIN"), Channel::Password);
    assert_eq!(Channel::of_mechanism("saslauthd"), Channel::Password);
}

#[test]
fn refusals_charge_the_buckets_of_name_and_client() {
    let env = memory_env();
    let access = env.open();
    let mallory = |name: &str| limits(&access, Some("198.51.100.1"), Channel::Caspt, Some(name));
    assert_eq!(charged(&access, Charge::Refused, 100, |_| mallory("x")), 20);
    // Half of the client's bucket is for names without charges.
    let new = |number: usize| mallory(&number.to_string());
    assert_eq!(charged(&access, Charge::Refused, 100, new), 20);
    let failure = access.check_rate(&new(100)).unwrap_err();
    assert_eq!(failure.reason(), Reason::BudgetSpent);
    // Without an address, a client stands for many.
    let daemon = |number: usize| {
        let name = number.to_string();
        limits(&access, None, Channel::Password, Some(&name))
    };
    assert_eq!(charged(&access, Charge::Refused, 500, daemon), 200);
    env.clock.advance(Duration::from_secs(60));
    assert_eq!(charged(&access, Charge::Refused, 100, |_| mallory("x")), 20);
}

#[test]
fn flooded_password_form_delays_neither_caspt_nor_known_users() {
    let env = memory_env();
    let access = env.open();
    for address in [WEBMAIL, None] {
        let form = |name: &str| limits(&access, address, Channel::Password, Some(name));
        let users: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
        for user in &users {
            access.refund(&form(user), Admission::TRUSTED, Claimed::Own);
        }
        env.clock.advance(Duration::from_secs(3 * 24 * 3_600));
        // As many as fit at once, and then as many as are admitted.
        let stranger = |number: usize| form(&format!("stranger{number}"));
        assert!(charged(&access, Charge::Refused, 500, stranger) < 500);
        for round in 0..20 {
            let stranger = |number: usize| form(&format!("stranger{round}-{number}"));
            charged(&access, Charge::Refused, 100, stranger);
            assert!(access.check_rate(&form("first-time-user")).is_err());
            for user in &users {
                assert!(access.check_rate(&form(user)).is_ok(), "{user} {address:?}");
                access.refund(&form(user), Admission::TRUSTED, Claimed::Own);
            }
            for name in [Some("user1"), Some("first-time-user"), None] {
                let own = limits(&access, address, Channel::Caspt, name);
                assert!(access.check_rate(&own).is_ok());
            }
            env.clock.advance(Duration::from_millis(500));
        }
    }
}

#[test]
fn crowd_of_addresses_does_not_delay_accepted_clients() {
    let env = memory_env();
    let access = env.open();
    let webmail = |name: &str| limits(&access, WEBMAIL, Channel::Caspt, Some(name));
    access.refund(&webmail("alice"), Admission::TRUSTED, Claimed::Own);
    let crowd = |number: usize| {
        let address = format!("198.51.{}.{}", number / 250, number % 250);
        limits(&access, Some(&address), Channel::Caspt, None)
    };
    assert_eq!(charged(&access, Charge::Refused, 1_000, crowd), 200);
    assert!(access.check_rate(&crowd(2_000)).is_err());
    // A known user, and a new one from an address of known users.
    for name in ["alice", "bob"] {
        assert!(access.check_rate(&webmail(name)).is_ok(), "{name}");
    }
    // Other options have other buckets.
    let server = access.breaker("https://cas");
    let other = Requester::new(Some("203.0.113.1"), Channel::Caspt, None);
    assert!(
        access
            .check_rate(&access.rate_limits(&other, LIMIT, &server))
            .is_err()
    );
    assert!(
        access
            .check_rate(&access.rate_limits(&other, LIMIT + 1, &server))
            .is_ok()
    );
    let other = limits(&access, Some("203.0.113.1"), Channel::Password, None);
    assert!(access.check_rate(&other).is_ok());
}

#[test]
fn new_names_and_addresses_evict_nothing_that_bounds_them() {
    let env = memory_env();
    let access = env.open();
    let of = |address: &str, name: &str| limits(&access, Some(address), Channel::Caspt, Some(name));
    let new = |number: usize| of("198.51.100.1", &number.to_string());
    charged(&access, Charge::Refused, 100, new);
    assert!(access.check_rate(&new(200)).is_err());
    access.refund(&of("192.0.2.7", "alice"), Admission::TRUSTED, Claimed::Own);
    // More than there is room for.
    for number in 0..300 {
        access.settle(&new(number), Admission::TRUSTED, Some(Charge::Refused));
    }
    assert!(access.check_rate(&new(4_000)).is_err());
    for number in 0..300 {
        let address = format!("10.0.{}.{}", number / 250, number % 250);
        access.settle(
            &of(&address, "x"),
            Admission::TRUSTED,
            Some(Charge::Refused),
        );
    }
    assert!(access.check_rate(&of("203.0.113.1", "new")).is_err());
    let alice = of("192.0.2.7", "alice");
    assert!(access.is_name_accepted(&alice).unwrap());
    assert!(access.is_client_accepted(&alice).unwrap());
}

#[test]
fn unanswered_tickets_limit_their_client_until_one_is_accepted() {
    let env = memory_env();
    let access = env.open();
    let mallory = |name| limits(&access, Some("198.51.100.1"), Channel::Caspt, name);
    let charge = Charge::Unanswered;
    assert_eq!(charged(&access, charge, 100, |_| mallory(Some("x"))), 30);
    let failure = access.check_rate(&mallory(Some("x"))).unwrap_err();
    assert!(failure.detail().contains("unanswered"), "{failure}");
    // New names may use one half of the client's bucket, 60 in all.
    let new = |number: usize| mallory(Some(["a", "b", "c", "d"][number % 4]));
    assert!(charged(&access, charge, 400, new) <= 30);
    // Another client is not affected, nor the same address by the other channel.
    let webmail = limits(&access, WEBMAIL, Channel::Caspt, None);
    assert!(access.check_rate(&webmail).is_ok());
    let form = limits(&access, Some("198.51.100.1"), Channel::Password, Some("x"));
    assert!(access.check_rate(&form).is_ok());
    access.refund(&mallory(Some("x")), Admission::TRUSTED, Claimed::Own);
    assert!(access.check_rate(&mallory(Some("x"))).is_ok());
}

#[test]
fn unanswered_tickets_are_charged_in_advance_and_refunded_by_an_answer() {
    let env = memory_env();
    let access = env.open();
    let mallory = |name| limits(&access, Some("198.51.100.1"), Channel::Caspt, Some(name));
    let in_advance = Admission {
        unanswered: true,
        ..Admission::TRUSTED
    };
    let nothing = |limits: &RateLimits, admission| access.settle(limits, admission, None);
    assert_eq!(admit(&access, &mallory("x")), Ok(Admission::TRUSTED));
    access.settle(&mallory("x"), Admission::TRUSTED, Some(Charge::Unanswered));
    // Other names are affected, too.
    for name in ["x", "y"] {
        let admission = admit(&access, &mallory(name));
        assert_eq!(admission, Ok(in_advance));
        nothing(&mallory(name), admission.unwrap());
    }
    let webmail = limits(&access, WEBMAIL, Channel::Caspt, None);
    assert_eq!(admit(&access, &webmail), Ok(Admission::TRUSTED));
    // Concurrent tickets are admitted only as far as they fit.
    let under_way = || (0..100).filter_map(|_| admit(&access, &mallory("x")).ok());
    assert_eq!(under_way().count(), 29);
    nothing(&mallory("x"), in_advance);
    assert_eq!(under_way().count(), 1);
    access.refund(&mallory("x"), in_advance, Claimed::Own);
    assert_eq!(admit(&access, &mallory("x")), Ok(Admission::TRUSTED));
}

#[test]
fn concurrent_tickets_of_a_name_with_refusals_fit_its_bucket() {
    let env = memory_env();
    let access = env.open();
    let mallory = limits(&access, Some("198.51.100.1"), Channel::Caspt, Some("x"));
    access.settle(&mallory, Admission::TRUSTED, Some(Charge::Refused));
    let under_way = || {
        (0..100)
            .filter_map(|_| admit(&access, &mallory).ok())
            .collect::<Vec<_>>()
    };
    let admitted = under_way();
    assert_eq!(admitted.len(), LIMIT as usize - 1);
    // The first ticket was accepted, the second unanswered, the third refused.
    access.refund(&mallory, admitted[0], Claimed::Own);
    access.settle(&mallory, admitted[1], None);
    access.settle(&mallory, admitted[2], Some(Charge::Refused));
    assert_eq!(under_way().len(), 3);
    // Charges that nobody settled are refilled.
    env.clock.advance(Duration::from_secs(60));
    assert_eq!(admit(&access, &mallory), Ok(Admission::TRUSTED));
}

#[test]
fn one_of_two_concurrent_tickets_gets_the_last_place() {
    let env = memory_env();
    let access = env.open();
    let mallory = |name: &str| limits(&access, Some("198.51.100.1"), Channel::Caspt, Some(name));
    // A half of the client's bucket is for names without charges.
    for name in 0..59 {
        access.settle(
            &mallory(&name.to_string()),
            Admission::TRUSTED,
            Some(Charge::Unanswered),
        );
    }
    let (one, other) = (mallory("one"), mallory("other"));
    let [first, second] = [&one, &other].map(|limits| access.check_rate(limits).unwrap());
    assert!(access.admit(&one, &first).is_ok());
    let failure = access.admit(&other, &second).unwrap_err();
    assert_eq!(failure.reason(), Reason::BudgetSpent);
    assert!(failure.detail().contains("of this client"), "{failure}");
    assert!(access.account(&other.name).unwrap().is_clear(access.now()));
}

#[test]
fn unanswered_tickets_are_given_back_when_cas_was_down_for_all() {
    let env = memory_env();
    let access = env.open();
    let server = access.breaker("https://cas");
    let webmail = limits(&access, WEBMAIL, Channel::Caspt, Some("alice"));
    let began = access.now();
    for _ in 0..30 {
        access.settle(&webmail, Admission::TRUSTED, Some(Charge::Unanswered));
        access.record_outcome(&server, began, Outcome::TimedOut);
    }
    assert!(access.check_rate(&webmail).is_err());
    let timeout = Duration::from_secs(5);
    assert_eq!(
        access.permission(&server, timeout).unwrap(),
        Permission::Trial
    );
    access.end_trial(&server, Some(false));
    assert!(access.check_rate(&webmail).is_ok());
    // Tickets of the outage are not charged.
    for _ in 0..40 {
        access.settle(&webmail, Admission::TRUSTED, Some(Charge::Unanswered));
    }
    assert!(access.check_rate(&webmail).is_ok());
}

#[test]
fn accepted_ticket_does_not_vouch_for_other_names() {
    let env = memory_env();
    let access = env.open();
    let form = |name: &str| limits(&access, WEBMAIL, Channel::Password, Some(name));
    let alice = form("alice");
    access.refund(&alice, Admission::TRUSTED, Claimed::Own);
    let names = ["x1", "x2", "x3", "x4"];
    for name in names {
        access.refund(&form(name), Admission::TRUSTED, Claimed::Another);
    }
    for name in names {
        charged(&access, Charge::Refused, 100, |_| form(name));
    }
    assert!(access.check_rate(&alice).is_ok());
}

#[test]
fn accepted_user_may_add_one_domain_to_the_name() {
    let env = memory_env();
    let access = env.open();
    let form = |name: &str| limits(&access, WEBMAIL, Channel::Password, Some(name));
    let is_accepted = |name: &str| access.is_name_accepted(&form(name)).unwrap();
    access.refund(
        &form("Alice@univ.fr"),
        Admission::TRUSTED,
        Claimed::WithDomain,
    );
    assert!(is_accepted("alice@univ.fr"));
    assert!(!is_accepted("alice") && !is_accepted("alice@x1") && !is_accepted("bob@univ.fr"));
    access.refund(&form("alice@x1"), Admission::TRUSTED, Claimed::WithDomain);
    assert!(is_accepted("alice@x1") && !is_accepted("alice@univ.fr"));
    access.refund(&form("alice"), Admission::TRUSTED, Claimed::Own);
    assert!(is_accepted("alice") && is_accepted("alice@x1"));
}
