//! How long a refusal takes does not tell who exists, who is in, or how much of a signature was
//! right. By statistics, so not in every run: `make timing`, on a machine that has nothing else to do.
//! (What must not depend on the machine's mood is in `src/session/seal_tests.rs`.)

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The figures are what the test is for.
#![allow(clippy::print_stdout)]

use serde_json::json;
use test_support::libsasl2::token_site::{TokenSite, oauthbearer};
use test_support::libsasl2::{Driver, code, hex};
use test_support::mint::{SigningKey, now};

/// How many logins each comparison takes, if SSO_SAMPLES does not say.
const SAMPLES: usize = 100_000;
/// From here on dudect is sure that there is a difference.
const SURE: f64 = 10.0;

/// Welch's t of the times of two messages of OAUTHBEARER.
fn t(driver: &mut Driver, what: &str, tokens: [&str; 2], codes: [i32; 2]) -> f64 {
    let asked = std::env::var("SSO_SAMPLES").ok();
    let samples = asked.map_or(SAMPLES, |asked| asked.parse().expect("SSO_SAMPLES"));
    assert_eq!(tokens[0].len(), tokens[1].len());
    let [a, b] = tokens.map(|token| hex(&oauthbearer(token)));
    driver.ask("quiet 1");
    let answer = driver.ask(&format!("versus OAUTHBEARER {samples} {a} {b}"));
    driver.ask("quiet 0");
    let said = |place: usize| answer.last[place].parse::<i32>().expect("a code");
    assert_eq!([said(1), said(2)], codes, "{what}");
    let t = answer.last[3].parse::<f64>().expect("a figure");
    println!("{what:<60} t = {t:.1} of {samples} logins");
    t.abs()
}

/// Refused both, and nobody can tell which is which.
fn alike(driver: &mut Driver, what: &str, tokens: [&str; 2]) {
    // The first step of a refusal tells the client that there is one.
    let t = t(driver, what, tokens, [code::CONTINUE; 2]);
    assert!(t < SURE, "{what}: {t}");
}

#[test]
#[ignore = "needs a quiet machine: make timing"]
fn refusals_take_as_long_as_one_another() {
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
    let (known, unknown) = (sign(&forger, "alice"), sign(&forger, "nobdy"));
    let what = "forged, of a user who is in, and of one whom nobody knows";
    alike(&mut driver, what, [&known, &unknown]);

    let (signed, signature) = alices.rsplit_once('.').expect("a signature");
    let wrong_at = |place: usize| {
        let mut signature = signature.as_bytes().to_vec();
        signature[place] = if signature[place] == b'A' { b'B' } else { b'A' };
        format!("{signed}.{}", String::from_utf8(signature).expect("text"))
    };
    // The last character has bits that are none of the signature's.
    let [first, last] = [0, signature.len() - 2].map(wrong_at);
    let what = "a signature wrong in its first byte, and in its last";
    alike(&mut driver, what, [&first, &last]);

    // What can be told is told: the one is known, and the other is verified.
    let t = t(
        &mut driver,
        "taken, and refused",
        [&alices, &first],
        [code::OK, code::CONTINUE],
    );
    assert!(t > SURE, "{t}");
}
