//! The time that a refusal takes reveals neither whether a user exists or has a session, nor how
//! much of a signature was right. The test is statistical and is therefore not part of every run:
//! `make timing`, on a machine that does nothing else.
//! (`crates/core/src/session_cache/seal_tests.rs` counts instructions, which does not depend on the
//! load of the machine.)

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// Prints the measured values.
#![allow(clippy::print_stdout)]

use serde_json::json;
use test_support::libsasl2::token_site::{TokenSite, oauthbearer};
use test_support::libsasl2::{Driver, code, hex};
use test_support::mint::{SigningKey, now};

/// Number of logins for each comparison, unless `SSO_SAMPLES` is set.
const SAMPLES: usize = 100_000;
/// Value of t from which dudect regards a difference as certain.
const T_CERTAIN: f64 = 10.0;

/// Returns Welch's t, absolute, for the times of two OAUTHBEARER messages.
fn welch_t(driver: &mut Driver, what: &str, tokens: [&str; 2], codes: [i32; 2]) -> f64 {
    let setting = std::env::var("SSO_SAMPLES").ok();
    let samples = setting.map_or(SAMPLES, |value| value.parse().expect("SSO_SAMPLES"));
    assert_eq!(tokens[0].len(), tokens[1].len());
    let [a, b] = tokens.map(|token| hex(&oauthbearer(token)));
    driver.ask("quiet 1");
    let answer = driver.ask(&format!("versus OAUTHBEARER {samples} {a} {b}"));
    driver.ask("quiet 0");
    let code_at = |place: usize| answer.last[place].parse::<i32>().expect("a code");
    assert_eq!([code_at(1), code_at(2)], codes, "{what}");
    let t = answer.last[3].parse::<f64>().expect("t is not a number");
    println!("{what:<60} t = {t:.1} of {samples} logins");
    t.abs()
}

/// Asserts that both tokens are refused in the same time.
fn assert_same_time(driver: &mut Driver, what: &str, tokens: [&str; 2]) {
    // The first step of a refusal is the challenge.
    let t = welch_t(driver, what, tokens, [code::CONTINUE; 2]);
    assert!(t < T_CERTAIN, "{what}: {t}");
}

#[test]
#[ignore = "needs a quiet machine: make timing"]
fn refusals_take_equal_time() {
    let site = TokenSite::new("timing");
    let secret = SigningKey::hmac(&[7; 32]);
    let keys = site.pem_file(&[&secret]);
    let mut driver = site.driver(&[("jwt_keys", &keys)]);
    let sign = |key: &SigningKey, user: &str| {
        let claims = json!({
            "iss": site.issuer.issuer(), "aud": test_support::libsasl2::token_site::AUDIENCE, "sub": user,
            "iat": now() - 5, "exp": now() + 6_000,
        });
        key.token(r#"{"alg":"HS256"}"#, &claims.to_string())
    };
    let alices = sign(&secret, "alice");
    assert_eq!(driver.token(&alices).code(), code::OK);

    let forger = SigningKey::hmac(&[8; 32]);
    let (with_session, without_session) = (sign(&forger, "alice"), sign(&forger, "ghost"));
    let what = "forged tokens of a user with a session and of an unknown one";
    assert_same_time(&mut driver, what, [&with_session, &without_session]);

    let (signed, signature) = alices.rsplit_once('.').expect("a signature");
    let wrong_at = |place: usize| {
        let mut signature = signature.as_bytes().to_vec();
        signature[place] = if signature[place] == b'A' { b'B' } else { b'A' };
        format!("{signed}.{}", String::from_utf8(signature).expect("text"))
    };
    // Some bits of the last character are not part of the signature.
    let [first, last] = [0, signature.len() - 2].map(wrong_at);
    let what = "signatures that are wrong in the first byte and in the last";
    assert_same_time(&mut driver, what, [&first, &last]);

    // The measurement itself works: accepting a cached token and refusing a forged one differ.
    let t = welch_t(
        &mut driver,
        "accepted and refused",
        [&alices, &first],
        [code::OK, code::CONTINUE],
    );
    assert!(t > T_CERTAIN, "{t}");
}
