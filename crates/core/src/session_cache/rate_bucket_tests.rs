//! The arithmetic of an account.

use super::*;

fn at(millis: u64) -> BootTime {
    BootTime::from_millis(millis)
}

#[test]
fn an_account_holds_its_limit_and_is_refilled_one_by_one() {
    let mut debt = Debt::default();
    for _ in 0..60 {
        assert!(debt.leaves_room(60, MINUTE, at(5_000)));
        debt = debt.plus_one(60, at(5_000));
    }
    for (now, has_room) in [(5_000, false), (5_999, false), (6_000, true)] {
        assert_eq!(debt.leaves_room(60, MINUTE, at(now)), has_room, "{now}");
    }
    // What is charged beyond that is forgotten: nobody is locked out for longer.
    assert!(
        debt.plus_one(60, at(5_000))
            .leaves_room(60, MINUTE, at(6_000))
    );
    // By another clock, or by nobody.
    assert!(debt.leaves_room(60, MINUTE, at(1_000)) || debt.owed(at(1_000)) == 0);
    assert_eq!(Debt(u64::MAX).owed(at(5_000)), 0);
    assert_eq!(
        Debt(u64::MAX).plus_one(60, at(5_000)),
        Debt::default().plus_one(60, at(5_000))
    );
}

#[test]
fn an_accepted_ticket_refunds_one_refusal_and_all_unanswered() {
    let limits = (60, 30);
    let mut account = Account::default();
    for _ in 0..2 {
        account = account.charged(Charge::Refused, limits, at(5_000));
        account = account.charged(Charge::Unanswered, limits, at(5_000));
    }
    let refunded = account.refunded(60);
    let one = Account::default().charged(Charge::Refused, limits, at(5_000));
    assert_eq!(refunded, one);
    assert!(refunded.refunded(60).is_clear(at(5_000)));
    assert_eq!(Account::decode(&account.encode()), Some(account));
    // The record of an earlier version is none.
    assert_eq!(Account::decode(&[0; 8]), None);
}

#[test]
fn an_outage_voids_what_was_left_unanswered_and_no_refusal() {
    let limits = (60, 30);
    let account = Account::default().charged(Charge::Refused, limits, at(5_000));
    let both = account.charged(Charge::Unanswered, limits, at(5_000));
    assert_eq!(both.after_outages(0), both);
    let after = Account {
        outages: 1,
        ..account
    };
    assert_eq!(both.after_outages(1), after);
}
