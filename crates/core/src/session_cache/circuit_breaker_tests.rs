//! Tests of the circuit breaker as a function of times.

use super::*;

const TIMEOUT: Duration = Duration::from_secs(2);

fn at(seconds: u64) -> BootTime {
    BootTime::from_millis(seconds * 1_000)
}

fn after_timeouts(record: BreakerRecord, count: usize, began: u64, now: u64) -> BreakerRecord {
    (0..count).fold(record, |record, _| {
        record.after_failure(at(began), at(now), true)
    })
}

/// The record of a server after three failures and a failed trial at 10 s.
fn open_at_10() -> BreakerRecord {
    let suspected = after_timeouts(BreakerRecord::NEW, 3, 1, 6);
    suspected
        .during_trial(at(8), TIMEOUT)
        .after_trial(at(10), Some(false))
}

#[test]
fn timeouts_count_only_if_nobody_was_answered_since_the_request_began() {
    // When the server answered another request, when the requests began and timed out, and what a
    // login may do after three of them.
    for (answered, began, now, expected) in [
        (None, 100, 105, Permission::Trial),
        (Some(99), 100, 105, Permission::Trial),
        (Some(100), 100, 105, Permission::Trial),
        (Some(101), 100, 105, Permission::Granted),
        (Some(103), 100, 105, Permission::Granted),
        (Some(105), 100, 105, Permission::Granted),
        // The time is from another clock.
        (Some(106), 100, 105, Permission::Trial),
    ] {
        let record = answered.map_or(BreakerRecord::NEW, |answered| {
            BreakerRecord::NEW.after_answer(at(answered))
        });
        let record = after_timeouts(record, 3, began, now);
        assert_eq!(record.permission(at(now)), expected, "{answered:?}");
    }
}

#[test]
fn failed_connections_count_although_others_were_answered() {
    let mut record = BreakerRecord::NEW.after_answer(at(100));
    for _ in 0..3 {
        assert_eq!(record.permission(at(101)), Permission::Granted);
        record = record.after_failure(at(99), at(101), false);
    }
    assert_eq!(record.permission(at(101)), Permission::Trial);
}

#[test]
fn answer_resets_the_failure_count() {
    let record = after_timeouts(BreakerRecord::NEW, 2, 1, 6).after_answer(at(7));
    let record = after_timeouts(record, 2, 8, 13);
    assert_eq!(record.permission(at(13)), Permission::Granted);
}

#[test]
fn suspicion_leads_to_one_trial_for_which_the_others_wait() {
    let suspected = after_timeouts(BreakerRecord::NEW, 3, 1, 6);
    assert_eq!(suspected.permission(at(7)), Permission::Trial);
    let trial = suspected.during_trial(at(7), TIMEOUT);
    assert_eq!(trial.permission(at(7)), Permission::Wait);
    // An answered trial closes the breaker.
    let closed = trial.after_trial(at(8), Some(true));
    assert_eq!(closed.permission(at(8)), Permission::Granted);
    assert_eq!(closed.outages(), 0);
    // If its process was killed, another login makes a trial.
    assert_eq!(trial.permission(at(9)), Permission::Wait);
    assert_eq!(trial.permission(at(10)), Permission::Trial);
    // The same holds after a trial that was not completed.
    let nothing = trial.after_trial(at(8), None);
    assert_eq!(nothing.permission(at(8)), Permission::Trial);
    assert!(!nothing.is_down());
}

#[test]
fn open_breaker_allows_one_trial_after_the_pause() {
    let open = open_at_10();
    assert_eq!(open.outages(), 1);
    assert!(open.is_down());
    assert_eq!(open.permission(at(10)), Permission::Denied);
    assert_eq!(open.permission(at(14)), Permission::Denied);
    assert_eq!(open.permission(at(15)), Permission::Trial);
    let trial = open.during_trial(at(15), TIMEOUT);
    assert_eq!(trial.permission(at(15)), Permission::Denied);
    assert!(trial.is_down());
    // The server still does not answer: it is the same outage.
    let open = trial.after_trial(at(17), Some(false));
    assert_eq!(open.permission(at(21)), Permission::Denied);
    assert_eq!(open.permission(at(22)), Permission::Trial);
    assert_eq!(open.outages(), 1);
    // A trial that was not completed is repeated at once.
    let nothing = trial.after_trial(at(16), None);
    assert_eq!(nothing.permission(at(16)), Permission::Trial);
    assert!(nothing.is_down());
    // The answer closes the breaker and ends the outage.
    let closed = trial.after_trial(at(16), Some(true));
    assert_eq!(closed.permission(at(16)), Permission::Granted);
    assert!(!closed.is_down());
}

#[test]
fn answer_during_a_trial_closes_the_breaker() {
    let suspected = after_timeouts(BreakerRecord::NEW, 3, 1, 6);
    let answered = suspected.during_trial(at(7), TIMEOUT).after_answer(at(8));
    let record = answered.after_trial(at(9), Some(false));
    assert_eq!(record.permission(at(9)), Permission::Granted);
}

#[test]
fn late_failures_of_an_outage_change_nothing() {
    let open = open_at_10();
    assert_eq!(after_timeouts(open, 20, 7, 12), open);
    let trial = open.during_trial(at(15), TIMEOUT);
    assert_eq!(trial.after_failure(at(9), at(16), false), trial);
}

#[test]
fn answers_in_quick_succession_are_recorded_as_one() {
    let millis = BootTime::from_millis;
    let record = BreakerRecord::NEW.after_answer(millis(10_000));
    assert_eq!(record.after_answer(millis(10_249)), record);
    assert_ne!(record.after_answer(millis(10_250)), record);
    // There is a failure to reset.
    let failed = record.after_failure(millis(9_000), millis(10_001), false);
    assert_eq!(failed.after_answer(millis(10_100)).state, record.state);
}

#[test]
fn times_of_another_clock_refuse_no_login() {
    let open = open_at_10();
    assert_eq!(open.permission(at(1)), Permission::Trial);
    let trial = open.during_trial(at(1_000), TIMEOUT);
    assert_eq!(trial.permission(at(1)), Permission::Trial);
}

#[test]
fn breaker_records_survive_encoding() {
    let open = open_at_10();
    let trial = open.during_trial(at(15), TIMEOUT);
    let closed = trial.after_trial(at(16), Some(true));
    for record in [BreakerRecord::NEW, open, trial, closed] {
        assert_eq!(BreakerRecord::decode(&record.encode()), Some(record));
    }
    // A record of an earlier version is not read.
    assert_eq!(BreakerRecord::decode(&[0; 9]), None);
    assert_eq!(BreakerRecord::decode(b""), None);
}
