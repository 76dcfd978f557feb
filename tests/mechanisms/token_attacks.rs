//! Tokens that must not open anything: each is refused, with its own reason in the log and none for
//! the attacker.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use serde_json::json;
use test_support::attacks::Table;
use test_support::key_server::KeyServer;
use test_support::libsasl2::token_site::{TokenSite, oauthbearer};
use test_support::libsasl2::{Driver, code};
use test_support::mint::now;

/// What the attacker is told, whatever was wrong.
const TOLD: &str = "\"status\":\"invalid_token\"";

/// Sends a token and returns the reason in the log; the attacker learns nothing of it.
fn refused(driver: &mut Driver, what: &str, token: &str) -> String {
    let answer = driver.token(token);
    let [(started, told), (ended, silence)] = &answer.steps[..] else {
        panic!("{what}: {answer:?}");
    };
    assert_eq!(*started, code::CONTINUE, "{what}: {answer:?}");
    assert!(told.contains(TOLD), "{what}: {answer:?}");
    assert_eq!((*ended, silence.as_str()), (code::BADAUTH, ""), "{what}");
    answer.reason()
}

/// Tries all of a table, and that a good token still opens the door.
fn play(table: &Table) {
    let mut driver = table.site.driver(&table.options);
    for attack in &table.rows {
        let reason = refused(&mut driver, &attack.what, &attack.token);
        assert_eq!(reason, attack.reason, "{}", attack.what);
    }
    let answer = driver.token(&table.site.token(json!({})));
    assert_eq!(answer.code(), code::OK, "{answer:?}");
}

#[test]
fn forged_signatures_are_refused() {
    play(&test_support::attacks::forged_signatures());
}

#[test]
fn keys_that_a_token_brings_or_points_to_are_never_used_nor_fetched() {
    let evil = KeyServer::start_with(None);
    play(&test_support::attacks::foreign_keys(&evil));
    assert_eq!(evil.connections(), 0);
}

#[test]
fn names_of_keys_are_compared_and_nothing_else() {
    play(&test_support::attacks::names_of_keys());
}

#[test]
fn tokens_of_others_and_for_others_are_refused() {
    play(&test_support::attacks::of_others());
}

#[test]
fn tokens_at_the_wrong_time_are_refused() {
    play(&test_support::attacks::wrong_times());
    play(&test_support::attacks::unbounded());
}

#[test]
fn tokens_that_are_no_access_tokens_of_a_person_are_refused() {
    play(&test_support::attacks::other_purposes());
}

#[test]
fn claims_that_could_be_read_in_two_ways_are_refused() {
    play(&test_support::attacks::ambiguous_claims());
}

#[test]
fn what_has_not_the_form_of_a_token_is_refused_before_anything_is_read() {
    let table = test_support::attacks::malformed();
    play(&table);
    assert_eq!(table.site.issuer.requests().len(), 2);
}

#[test]
fn an_unknown_issuer_costs_no_network() {
    let site = TokenSite::new("unknown");
    let mut driver = site.driver(&[]);
    for number in 0..5 {
        let token = site.token(json!({"iss": "https://evil.example", "jti": number}));
        let reason = refused(&mut driver, "another issuer", &token);
        assert_eq!(reason, "issuer_not_allowed");
    }
    assert_eq!(site.issuer.connections(), 0);
}

#[test]
fn random_messages_open_nothing_and_crash_nothing() {
    let site = TokenSite::new("noise");
    let mut driver = site.driver(&[]);
    for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
        let answer = driver.ask(&format!("fuzz {mechanism} 60000 4711"));
        assert_eq!(answer.last, ["fuzz", "0"]);
    }
    let answer = driver.token(&site.token(json!({})));
    assert_eq!(answer.code(), code::OK, "{answer:?}");
}

#[test]
fn a_refusal_is_the_same_for_every_user() {
    let site = TokenSite::new("same");
    let mut driver = site.driver(&[]);
    let mut told = Vec::new();
    for user in ["alice", "nobody", "root"] {
        let token = site.token(json!({"sub": user, "exp": now() - 100}));
        told.push(driver.token(&token).steps);
        let message = [format!("n,a={user},").as_bytes(), &oauthbearer(&token)[3..]].concat();
        told.push(driver.log_in("OAUTHBEARER", &message).steps);
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:?}");
}
