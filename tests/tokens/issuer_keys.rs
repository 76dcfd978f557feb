//! Key rotation, withdrawn keys, and key sets that cannot be fetched: what users notice.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::time::{Duration, Instant};
use test_support::key_server::{Behaviour, DISCOVERY, JWKS};
use test_support::libsasl2::token_site::{TokenSite, named, oauthbearer};
use test_support::libsasl2::{Answer, Driver, code, hex};
use test_support::lock_file::lock;
use test_support::mint::SigningKey;
use test_support::wait::{PATIENCE, wait_until};

/// Creates a token signed with another key than the first one of `site`.
fn token_by(site: &TokenSite, key: &SigningKey, kid: &str) -> String {
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    key.token(&header, &site.claims(json!({"jti": kid})).to_string())
}

#[track_caller]
fn assert_accepted(answer: &Answer) {
    assert_eq!(answer.code(), code::OK, "{answer:?}");
}

/// Logs in with a new token, which must therefore be validated.
fn log_in(site: &TokenSite, driver: &mut Driver) -> Answer {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    driver.token(&site.token(json!({"jti": NUMBER.fetch_add(1, Ordering::Relaxed)})))
}

#[test]
fn new_key_works_at_once_and_old_key_until_the_refresh() {
    let site = TokenSite::new("rotated");
    let (mut one, mut other) = (site.driver(&[]), site.driver(&[]));
    assert_accepted(&log_in(&site, &mut one));
    assert_accepted(&log_in(&site, &mut other));
    assert_eq!(site.issuer.requests_for(JWKS), 1);

    let next = SigningKey::p256();
    site.issuer
        .set_keys(&[named(&next, "k2"), named(&site.key, "k1")]);
    assert_accepted(&one.token(&token_by(&site, &next, "k2")));
    assert_accepted(&other.token(&token_by(&site, &next, "k2")));
    assert_accepted(&log_in(&site, &mut other));
    assert_eq!(site.issuer.requests_for(JWKS), 2);

    // The old key is withdrawn, which is noticed only at the next refresh.
    site.issuer.set_keys(&[named(&next, "k2")]);
    assert_accepted(&log_in(&site, &mut one));
    assert_eq!(site.issuer.requests_for(JWKS), 2);
}

#[test]
fn withdrawn_key_is_refused_after_the_refresh() {
    let site = TokenSite::new("withdrawn");
    let mut driver = site.driver(&[("jwt_keys_refresh", "1")]);
    let known = site.token(json!({"jti": "known"}));
    assert_accepted(&driver.token(&known));
    let next = SigningKey::p256();
    site.issuer.set_keys(&[named(&next, "k2")]);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(log_in(&site, &mut driver).reason(), "key_unknown");
    assert_eq!(driver.token(&known).reason(), "key_unknown");
    assert_accepted(&driver.token(&token_by(&site, &next, "k2")));
}

#[test]
fn new_key_type_works_at_once() {
    let site = TokenSite::new("family");
    let rsa = SigningKey::rsa();
    let file = site.pem_file(&[&rsa]);
    let options = [("jwt_keys", file.as_str())];
    let mut driver = site.driver(&options);
    let claims = site.claims(json!({})).to_string();
    let token = site.key.token(r#"{"alg":"ES256"}"#, &claims);
    assert_eq!(driver.token(&token).reason(), "algorithm_not_allowed");
    site.pem_file(&[&rsa, &site.key]);
    assert_accepted(&driver.token(&token));
}

#[test]
fn unknown_key_ids_do_not_cause_one_fetch_each() {
    let site = TokenSite::new("flood");
    let mut drivers = [site.driver(&[]), site.driver(&[])];
    for driver in &mut drivers {
        assert_accepted(&log_in(&site, driver));
        driver.ask("quiet 1");
    }
    assert_eq!(site.issuer.requests_for(JWKS), 1);
    let begin = Instant::now();
    let unknown_key = SigningKey::ed25519();
    let claims = site.claims(json!({})).to_string();
    for number in 0..10_000 {
        let header = format!(r#"{{"alg":"EdDSA","kid":"random-{number}"}}"#);
        let answer = drivers[number % 2].token(&unknown_key.token(&header, &claims));
        assert_eq!(answer.code(), code::BADAUTH, "{answer:?}");
    }
    let elapsed = begin.elapsed();
    let fetches = site.issuer.requests_for(JWKS) - 1;
    let periods = elapsed.as_secs() / 10 + 1;
    assert!(
        fetches as u64 <= periods && fetches > 0,
        "{fetches} fetches in {elapsed:?}"
    );
    assert_accepted(&log_in(&site, &mut drivers[0]));
}

#[test]
fn concurrent_logins_share_one_fetch_of_the_keys() {
    let site = TokenSite::new("crowd");
    site.issuer.set_delay(Duration::from_millis(200));
    let mut drivers: Vec<Driver> = (0..8).map(|_| site.driver(&[])).collect();
    std::thread::scope(|scope| {
        for driver in &mut drivers {
            scope.spawn(|| assert_accepted(&log_in(&site, driver)));
        }
    });
    assert_eq!(site.issuer.requests_for(JWKS), 1);
    assert_eq!(site.issuer.requests_for(DISCOVERY), 1);
}

/// Returns the ways in which an issuer can fail to provide its keys.
fn failures() -> Vec<(&'static str, Behaviour)> {
    let answer = |status, content_type: &str, body: &str| Behaviour::AnswerAs {
        status,
        content_type: content_type.to_owned(),
        body: body.to_owned(),
    };
    vec![
        ("hangs on accept", Behaviour::HangOnAccept),
        ("hangs after the request", Behaviour::HangAfterRequest),
        ("closes", Behaviour::CloseOnAccept),
        ("closes after the request", Behaviour::CloseAfterRequest),
        ("HTML", answer(200, "text/html", "<html>Login</html>")),
        ("500", answer(500, "text/plain", "oops")),
        ("404", answer(404, "application/json", "{\"keys\":[]}")),
        (
            "an empty set",
            answer(200, "application/json", "{\"keys\":[]}"),
        ),
        ("nothing", Behaviour::EmptyBody),
        ("10 MB", Behaviour::Huge(10 << 20)),
        (
            "a redirect",
            Behaviour::Redirect("https://localhost/".to_owned()),
        ),
        (
            "no HTTP",
            Behaviour::RawBytes(b"* OK IMAP4rev1\r\n".to_vec()),
        ),
    ]
}

/// Tests all failures concurrently, each with its own servers.
fn for_each_failure(play: impl Fn(&str, Behaviour) + Sync) {
    std::thread::scope(|scope| {
        for (what, behaviour) in failures() {
            let play = &play;
            scope.spawn(move || play(what, behaviour));
        }
    });
}

#[test]
fn missing_keys_cause_an_outage_not_a_refusal() {
    for_each_failure(|what, behaviour| {
        let site = TokenSite::new("outage");
        site.issuer.set(behaviour);
        // A time-out counts against the issuer only if a busy machine cannot have caused it.
        let mut driver = site.driver(&[("jwt_timeout", "3")]);
        let token = site.token(json!({}));
        for is_first in [true, false] {
            let answer = driver.token(&token);
            assert_eq!(answer.code(), code::UNAVAIL, "{what}: {answer:?}");
            // No challenge, because the client must keep its token.
            assert_eq!(answer.steps.len(), 1, "{what}: {answer:?}");
            // The second login does not wait for the issuer again.
            assert_eq!(
                answer.reason() != "server_avoided",
                is_first,
                "{what}: {answer:?}"
            );
        }
        // A token of another issuer is refused nevertheless.
        let answer = driver.token(&site.token(json!({"iss": "x"})));
        assert_eq!(answer.reason(), "issuer_not_allowed", "{what}");
        site.issuer.behave();
        let end = Instant::now() + Duration::from_secs(10);
        while driver.token(&token).code() != code::OK {
            assert!(
                Instant::now() < end,
                "{what}: the issuer was not asked again"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

#[test]
fn cached_keys_are_used_during_an_outage_for_a_limited_time() {
    for_each_failure(|what, behaviour| {
        let site = TokenSite::new("last");
        let options = [
            ("jwt_timeout", "3"),
            ("jwt_keys_refresh", "1"),
            ("jwt_keys_keep", if what == "closes" { "4" } else { "60" }),
        ];
        let mut driver = site.driver(&options);
        assert_accepted(&log_in(&site, &mut driver));
        let fetched = Instant::now();
        site.issuer.set(behaviour);
        std::thread::sleep(Duration::from_millis(1_100));
        assert_accepted(&log_in(&site, &mut driver));
        // The issuer is not asked again at once.
        let connections = site.issuer.connections();
        assert_accepted(&log_in(&site, &mut driver));
        assert_eq!(site.issuer.connections(), connections, "{what}");
        // An unknown key may have been added meanwhile, so the token is not refused.
        let answer = driver.token(&token_by(&site, &SigningKey::p256(), "new"));
        assert_eq!(answer.code(), code::UNAVAIL, "{what}: {answer:?}");
        if what == "closes" {
            let left = Duration::from_millis(5_100).saturating_sub(fetched.elapsed());
            std::thread::sleep(left);
            let answer = log_in(&site, &mut driver);
            assert_eq!(answer.code(), code::UNAVAIL, "{what}: {answer:?}");
        }
    });
}

#[test]
fn discovery_document_of_another_issuer_is_rejected() {
    let site = TokenSite::new("description");
    let mut document = site.issuer.discovery();
    document["issuer"] = json!("https://evil.example");
    site.issuer.set_discovery(document);
    let mut driver = site.driver(&[]);
    let answer = driver.token(&site.token(json!({})));
    assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
    assert_eq!(answer.reason(), "reply_unusable");
    assert_eq!(site.issuer.requests_for(JWKS), 0);
}

#[test]
fn unusable_entries_of_a_key_set_are_ignored() {
    let site = TokenSite::new("odd");
    let mut without_kid = SigningKey::p384().jwk();
    without_kid["alg"] = json!("ES384");
    let mut encryption = SigningKey::rsa().jwk();
    encryption["use"] = json!("enc");
    site.issuer.set_keys(&[
        json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"}),
        json!({"kid": "broken"}),
        json!({"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"}),
        json!("text"),
        encryption,
        without_kid,
        named(&SigningKey::hmac(&[1; 64]), "published secret"),
        named(&site.key, "k1"),
    ]);
    let mut driver = site.driver(&[]);
    assert_accepted(&log_in(&site, &mut driver));
    // A published symmetric key must not be used.
    let claims = site.claims(json!({})).to_string();
    let forged = SigningKey::hmac(&[1; 64]);
    let forged = forged.token(r#"{"alg":"HS256","kid":"published secret"}"#, &claims);
    assert_ne!(driver.token(&forged).code(), code::OK);
}

#[test]
fn keys_without_key_ids_can_be_rotated() {
    let site = TokenSite::new("nameless");
    site.issuer.set_keys(&[site.key.jwk()]);
    let mut driver = site.driver(&[]);
    assert_accepted(&log_in(&site, &mut driver));
    let next = SigningKey::p256();
    site.issuer.set_keys(&[next.jwk()]);
    let claims = site.claims(json!({})).to_string();
    assert_accepted(&driver.token(&next.token(r#"{"alg":"ES256"}"#, &claims)));
}

#[test]
fn changed_key_files_are_read_again() {
    let site = TokenSite::new("files");
    let (old, new) = (SigningKey::p256(), SigningKey::ed25519());
    let directory = site.scratch.create_dir("keys");
    let write = |name: &str, text: &str| site.scratch.write(directory.join(name), text);
    write(
        "old.pem",
        &format!("the old key\n{}\nand a word after it\n", old.pem()),
    );
    write(
        "broken.pem",
        "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n",
    );
    let directory = directory.display().to_string();
    let mut driver = site.driver(&[("jwt_keys", &directory), ("jwt_keys_refresh", "1")]);
    let token = |key: &SigningKey, alg: &str, jti: u64| {
        let claims = site.claims(json!({"jti": jti})).to_string();
        key.token(&json!({"alg": alg, "kid": "any"}).to_string(), &claims)
    };
    let answer = driver.token(&token(&old, "ES256", 1));
    assert_accepted(&answer);
    // The broken file is reported once.
    let reports = |answer: &Answer| {
        let lines = answer.log.iter();
        lines
            .filter(|(_, line)| line.contains("broken.pem"))
            .count()
    };
    assert_eq!(reports(&answer), 1, "{answer:?}");
    let unknown = driver.token(&token(&new, "EdDSA", 1)).reason();
    assert_eq!(unknown, "key_unknown");
    // A new key is found at once when a token needs it.
    write("new.pem", &new.pem());
    assert_accepted(&driver.token(&token(&new, "EdDSA", 2)));
    // A withdrawn key is refused after the refresh, for known tokens, too.
    std::fs::remove_file(site.scratch.join("keys/old.pem")).expect("cannot remove the old key");
    std::thread::sleep(Duration::from_millis(1_100));
    for jti in [1, 2] {
        let reason = driver.token(&token(&old, "ES256", jti)).reason();
        assert_eq!(reason, "key_unknown");
    }
    // Without any key, it is an outage that the administrator must fix, not a refusal.
    std::fs::remove_file(site.scratch.join("keys/new.pem")).expect("cannot remove the new key");
    std::thread::sleep(Duration::from_millis(1_100));
    let answer = driver.token(&token(&new, "EdDSA", 3));
    assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
    assert_eq!(answer.reason(), "keys_unusable");
}

#[test]
fn each_process_fetches_keys_without_a_session_cache() {
    let site = TokenSite::new("nostore");
    let file = site.scratch.write("file", "");
    let file = file.display().to_string();
    for count in 1..=2 {
        let mut driver = site.driver(&[("sso_state_dir", &file)]);
        for _ in 0..3 {
            assert_accepted(&log_in(&site, &mut driver));
        }
        assert_eq!(site.issuer.requests_for(JWKS), count);
    }
}

#[test]
fn replaced_key_with_the_same_key_id_works_at_once() {
    let site = TokenSite::new("replaced");
    let mut driver = site.driver(&[]);
    assert_accepted(&log_in(&site, &mut driver));
    let next = SigningKey::p256();
    site.issuer.set_keys(&[named(&next, "k1")]);
    assert_accepted(&driver.token(&token_by(&site, &next, "k1")));
    // While the issuer is down, a forged token is still refused.
    site.issuer.set(Behaviour::CloseOnAccept);
    let forged = token_by(&site, &SigningKey::p256(), "k1");
    assert_eq!(driver.token(&forged).reason(), "signature_wrong");
}

#[test]
fn stopped_process_that_fetches_keys_does_not_block_others() {
    let site = TokenSite::new("stopped");
    let options = [("jwt_keys_refresh", "1")];
    let (mut stopped, mut other) = (site.driver(&options), site.driver(&options));
    assert_accepted(&log_in(&site, &mut stopped));
    site.issuer.set_delay(Duration::from_secs(60));
    std::thread::sleep(Duration::from_millis(1_100));
    let token = site.token(json!({"jti": "stopped"}));
    stopped.tell(&format!(
        "login OAUTHBEARER {} 01",
        hex(&oauthbearer(&token))
    ));
    assert!(wait_until(PATIENCE, || site.issuer.requests().len() > 2));
    let pid = Pid::from_raw(
        stopped
            .pid()
            .try_into()
            .expect("the process ID is out of range"),
    );
    kill(pid, Signal::SIGSTOP).expect("cannot stop the driver");
    for _ in 0..3 {
        assert_accepted(&log_in(&site, &mut other));
    }
    // These logins neither waited nor fetched the keys.
    assert_eq!(site.issuer.requests().len(), 3);
    kill(pid, Signal::SIGCONT).expect("cannot continue the driver");
    assert_accepted(&stopped.answer());
}

#[test]
fn local_fault_does_not_open_the_circuit_breaker() {
    let site = TokenSite::new("ownfault");
    let broken = site.scratch.write("broken.pem", "no certificate");
    let broken = broken.display().to_string();
    let mut one = site.driver(&[("jwt_ca_file", &broken)]);
    for _ in 0..2 {
        assert_eq!(log_in(&site, &mut one).reason(), "trust_unusable");
    }
    assert_accepted(&log_in(&site, &mut site.driver(&[])));
}

#[test]
fn each_issuer_has_its_own_time_out() {
    let site = TokenSite::new("times");
    site.issuer.set(Behaviour::HangAfterRequest);
    let (issuer, ca) = (site.issuer.issuer(), site.scratch.join("ca.pem"));
    let ca = ca.display().to_string();
    let mut driver = site.driver_of_several(&[
        ("jwt_issuers", "a b"),
        ("jwt_a_issuer", issuer.as_str()),
        ("jwt_a_keys", "discovery"),
        ("jwt_a_ca_file", &ca),
        ("jwt_a_audience", "*"),
        ("jwt_a_timeout", "1"),
        ("jwt_b_issuer", "*"),
        ("jwt_b_keys", "/missing"),
        ("jwt_b_audience", "*"),
        ("jwt_b_timeout", "20"),
    ]);
    let begin = Instant::now();
    assert_eq!(log_in(&site, &mut driver).reason(), "server_timeout");
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn fetches_remain_limited_without_write_access() {
    let site = TokenSite::new("readonly");
    let mut driver = site.driver(&[]);
    assert_accepted(&log_in(&site, &mut driver));
    // The write lock cannot be taken, as if a process that holds it were stopped.
    let _writing = lock(&site.scratch.join("state/locks"), 1, 1);
    let begin = Instant::now();
    for number in 0..5 {
        let token = token_by(&site, &SigningKey::p256(), &format!("unknown-{number}"));
        assert_ne!(driver.token(&token).code(), code::OK);
    }
    let periods = begin.elapsed().as_secs() / 10 + 1;
    let fetches = site.issuer.requests_for(JWKS) as u64 - 1;
    assert!(fetches <= periods, "{fetches} fetches in {periods} periods");
    assert_accepted(&log_in(&site, &mut driver));
}
