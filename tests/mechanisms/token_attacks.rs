//! Tokens that must be refused. The log has the reason of each; the client does not learn it.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::json;
use test_support::attacks::Table;
use test_support::key_server::KeyServer;
use test_support::libsasl2::token_site::{TokenSite, oauthbearer};
use test_support::libsasl2::{Driver, code};
use test_support::mint::now;

/// The part of the challenge that is the same for all refused tokens.
const CHALLENGE: &str = "\"status\":\"invalid_token\"";

/// Sends a token that must be refused, and returns the reason in the log. Asserts that the client
/// does not learn it.
fn refusal_reason(driver: &mut Driver, what: &str, token: &str) -> String {
    let answer = driver.token(token);
    let [(first_code, challenge), (last_code, last_message)] = &answer.steps[..] else {
        panic!("{what}: {answer:?}");
    };
    assert_eq!(*first_code, code::CONTINUE, "{what}: {answer:?}");
    assert!(challenge.contains(CHALLENGE), "{what}: {answer:?}");
    assert_eq!(
        (*last_code, last_message.as_str()),
        (code::BADAUTH, ""),
        "{what}"
    );
    answer.reason()
}

/// Sends all tokens of a table, and then a good one, which must still be accepted.
fn send_all(table: &Table) {
    let mut driver = table.site.driver(&table.options);
    for attack in &table.rows {
        let reason = refusal_reason(&mut driver, &attack.what, &attack.token);
        assert_eq!(reason, attack.reason, "{}", attack.what);
    }
    let answer = driver.token(&table.site.token(json!({})));
    assert_eq!(answer.code(), code::OK, "{answer:?}");
}

#[test]
fn forged_signatures_are_refused() {
    send_all(&test_support::attacks::forged_signatures());
}

#[test]
fn keys_referenced_by_a_token_are_neither_used_nor_fetched() {
    let evil = KeyServer::start_with(None);
    send_all(&test_support::attacks::foreign_keys(&evil));
    assert_eq!(evil.connections(), 0);
}

#[test]
fn key_ids_are_only_compared() {
    send_all(&test_support::attacks::key_ids());
}

#[test]
fn tokens_of_other_issuers_and_audiences_are_refused() {
    send_all(&test_support::attacks::other_issuers_and_audiences());
}

#[test]
fn tokens_outside_their_validity_period_are_refused() {
    send_all(&test_support::attacks::wrong_times());
    send_all(&test_support::attacks::unbounded());
}

#[test]
fn tokens_other_than_access_tokens_of_users_are_refused() {
    send_all(&test_support::attacks::other_purposes());
}

#[test]
fn ambiguous_claims_are_refused() {
    send_all(&test_support::attacks::ambiguous_claims());
}

#[test]
fn malformed_tokens_are_refused_without_fetching_keys() {
    let table = test_support::attacks::malformed();
    send_all(&table);
    assert_eq!(table.site.issuer.requests().len(), 2);
}

#[test]
fn token_of_an_unknown_issuer_causes_no_request() {
    let site = TokenSite::new("unknown");
    let mut driver = site.driver(&[]);
    for number in 0..5 {
        let token = site.token(json!({"iss": "https://evil.example", "jti": number}));
        let reason = refusal_reason(&mut driver, "another issuer", &token);
        assert_eq!(reason, "issuer_not_allowed");
    }
    assert_eq!(site.issuer.connections(), 0);
}

#[test]
fn random_messages_neither_crash_nor_log_in() {
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
fn refusal_is_the_same_for_every_user() {
    let site = TokenSite::new("same");
    let mut driver = site.driver(&[]);
    let mut all_steps = Vec::new();
    for user in ["alice", "nobody", "root"] {
        let token = site.token(json!({"sub": user, "exp": now() - 100}));
        all_steps.push(driver.token(&token).steps);
        let message = [format!("n,a={user},").as_bytes(), &oauthbearer(&token)[3..]].concat();
        all_steps.push(driver.log_in("OAUTHBEARER", &message).steps);
    }
    assert!(
        all_steps.windows(2).all(|two| two[0] == two[1]),
        "{all_steps:?}"
    );
}
