//! Tests of the arithmetic of buckets.

use super::*;

fn at(millis: u64) -> BootTime {
    BootTime::from_millis(millis)
}

#[test]
fn bucket_holds_its_limit_and_is_refilled_one_by_one() {
    let mut debt = Debt::default();
    for _ in 0..60 {
        assert!(debt.leaves_room(60, MINUTE, at(5_000)));
        debt = debt.plus_one(60, at(5_000));
    }
    for (now, has_room) in [(5_000, false), (5_999, false), (6_000, true)] {
        assert_eq!(debt.leaves_room(60, MINUTE, at(now)), has_room, "{now}");
    }
    // Charges beyond the size of the bucket are forgotten.
    assert!(
        debt.plus_one(60, at(5_000))
            .leaves_room(60, MINUTE, at(6_000))
    );
    // The time is from another clock.
    assert!(debt.leaves_room(60, MINUTE, at(1_000)) || debt.owed(at(1_000)) == 0);
    assert_eq!(Debt(u64::MAX).owed(at(5_000)), 0);
    assert_eq!(
        Debt(u64::MAX).plus_one(60, at(5_000)),
        Debt::default().plus_one(60, at(5_000))
    );
}

#[test]
fn accepted_ticket_refunds_one_refusal_and_all_unanswered() {
    let limits = (60, 30);
    let mut account = BucketState::default();
    for _ in 0..2 {
        account = account.charged(Charge::Refused, limits, at(5_000));
        account = account.charged(Charge::Unanswered, limits, at(5_000));
    }
    let refunded = account.refunded(60);
    let one = BucketState::default().charged(Charge::Refused, limits, at(5_000));
    assert_eq!(refunded, one);
    assert!(refunded.refunded(60).is_clear(at(5_000)));
    assert_eq!(BucketState::decode(&account.encode()), Some(account));
    // A record of an earlier version is not read.
    assert_eq!(BucketState::decode(&[0; 8]), None);
}

#[test]
fn outage_voids_unanswered_charges_only() {
    let limits = (60, 30);
    let account = BucketState::default().charged(Charge::Refused, limits, at(5_000));
    let both = account.charged(Charge::Unanswered, limits, at(5_000));
    assert_eq!(both.after_outages(0), both);
    let after = BucketState {
        outages: 1,
        ..account
    };
    assert_eq!(both.after_outages(1), after);
}
