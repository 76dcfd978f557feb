//! Good tokens in the real libsasl2: all algorithms, all sources of keys, and all message forms
//! that clients send; the user that a token names, and the lifetime of its session.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use std::time::Duration;
use test_support::libsasl2::token_site::{AUDIENCE, TokenSite, named, oauthbearer};
use test_support::libsasl2::valgrind::Valgrind;
use test_support::libsasl2::{Answer, Driver, code, hex};
use test_support::mint::{SigningKey, now};

/// Options for tokens of an application that are signed with keys from a file.
fn application_options(keys: &str) -> [(&str, &str); 4] {
    [
        ("jwt_keys", keys),
        ("jwt_issuer", "*"),
        ("jwt_audience", "*"),
        ("jwt_max_age", "3600"),
    ]
}

/// Asserts that this user logged in, and that `source` decided the login.
#[track_caller]
fn assert_accepted(answer: &Answer, user: &str, source: &str) {
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(answer.authid(), user, "{answer:?}");
    assert_eq!(
        answer.field("source").as_deref(),
        Some(source),
        "{answer:?}"
    );
}

fn challenge(answer: &Answer) -> Value {
    let (_, challenge) = &answer.steps[0];
    serde_json::from_str(challenge).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn only_configured_mechanisms_are_offered() {
    let site = TokenSite::new("offered");
    let cas = [
        ("caspt_url", "https://cas.example"),
        ("caspt_proxies", "https://webmail.example/*"),
    ];
    let offered = |options: &[(&str, &str)]| {
        let mut names = site.driver(options).ask("list").last[1..].to_vec();
        names.sort();
        names.join(" ")
    };
    assert_eq!(offered(&[]), "OAUTHBEARER XOAUTH2");
    assert_eq!(offered(&cas), "CASPT OAUTHBEARER XOAUTH2");
    let without = [cas[0], cas[1], ("jwt_keys", "")];
    assert_eq!(offered(&without), "CASPT");
    assert_eq!(offered(&[("jwt_keys", "")]), "");
    // An incomplete token policy disables all mechanisms, including CASPT.
    assert_eq!(offered(&[cas[0], cas[1], ("jwt_audience", "")]), "");
    assert_eq!(site.issuer.connections(), 0);
    assert!(!site.scratch.join("state").exists());
}

#[test]
fn every_algorithm_works_with_key_files_and_published_key_sets() {
    let site = TokenSite::new("algorithms");
    let rsa = SigningKey::rsa();
    let keys = [
        ("RS256", rsa.clone()),
        ("RS384", rsa.clone()),
        ("RS512", rsa.clone()),
        ("PS256", rsa.clone()),
        ("PS384", rsa.clone()),
        ("PS512", rsa),
        ("ES256", SigningKey::p256()),
        ("ES384", SigningKey::p384()),
        ("ES512", SigningKey::p521()),
        ("EdDSA", SigningKey::ed25519()),
    ];
    let published: Vec<Value> = keys.iter().map(|(alg, key)| named(key, alg)).collect();
    site.issuer.set_keys(&published);
    let secret = SigningKey::hmac(&[9; 64]);
    let mut in_files: Vec<&SigningKey> = keys.iter().map(|(_, key)| key).collect();
    in_files.push(&secret);
    let file = site.pem_file(&in_files);
    let jwks = site
        .scratch
        .write("jwks.json", json!({"keys": published}).to_string());
    let jwks = jwks.display().to_string();
    let url = site.issuer.jwks_uri();
    for options in [
        &[][..],
        &[("jwt_keys", url.as_str())],
        &[("jwt_keys", jwks.as_str())],
        &application_options(&file),
    ] {
        let mut driver = site.driver(options);
        for (alg, key) in &keys {
            let header = format!(r#"{{"alg":"{alg}","kid":"{alg}"}}"#);
            let token = key.token(&header, &site.claims(json!({"jti": alg})).to_string());
            assert_accepted(&driver.token(&token), "alice", "validated");
        }
    }
    let mut driver = site.driver(&application_options(&file));
    for alg in ["HS256", "HS384", "HS512"] {
        let claims = site.claims(json!({})).to_string();
        let token = secret.token(&format!(r#"{{"alg":"{alg}"}}"#), &claims);
        assert_accepted(&driver.token(&token), "alice", "validated");
    }
    // Other algorithms than those of `jwt_algorithms` are refused.
    let mut driver = site.driver(&[("jwt_algorithms", "PS256 ES384")]);
    let token = site.token(json!({}));
    assert_eq!(driver.token(&token).reason(), "algorithm_not_allowed");
}

#[test]
fn application_token_needs_neither_iss_nor_aud_nor_exp() {
    let site = TokenSite::new("application");
    let key = SigningKey::hmac(b"thirty-two bytes or more of secret");
    let file = site.pem_file(&[&key]);
    let mut driver = site.driver(&application_options(&file));
    for claims in [
        json!({"sub": "alice", "iat": now()}),
        json!({"sub": "alice", "iat": now(), "exp": now() + 60, "role": "mail"}),
        json!({"sub": "alice", "iat": now(), "iss": "anybody", "aud": ["any", "body"]}),
    ] {
        let token = key.token(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string());
        assert_accepted(&driver.token(&token), "alice", "validated");
    }
    let old = json!({"sub": "alice", "iat": now() - 4_000}).to_string();
    let token = key.token(r#"{"alg":"HS256"}"#, &old);
    assert_eq!(driver.token(&token).reason(), "token_too_old");
}

#[test]
fn cached_token_is_accepted_by_every_process() {
    let site = TokenSite::new("known");
    let token = site.token(json!({}));
    let mut first = site.driver(&[]);
    assert_accepted(&first.token(&token), "alice", "validated");
    for driver in [&mut first, &mut site.driver(&[])] {
        assert_accepted(&driver.token(&token), "alice", "host");
        let xoauth2 = format!("user=alice\x01auth=Bearer {token}\x01\x01");
        assert_accepted(
            &driver.log_in("XOAUTH2", xoauth2.as_bytes()),
            "alice",
            "host",
        );
    }
    // Another policy has its own sessions.
    let mut other = site.driver(&[("jwt_leeway", "29")]);
    assert_accepted(&other.token(&token), "alice", "validated");
    // All processes together fetched the discovery document and the key set once.
    assert_eq!(site.issuer.requests().len(), 2);
}

#[test]
fn session_ends_when_its_token_expires() {
    let site = TokenSite::new("ends");
    let mut driver = site.driver(&[("jwt_leeway", "0")]);
    let mut lenient = site.driver(&[("jwt_leeway", "60")]);
    // Fetches the keys before the time is measured.
    assert_accepted(&driver.token(&site.token(json!({}))), "alice", "validated");
    let end = now() + 5;
    let token = site.token(json!({"exp": end}));
    assert_accepted(&driver.token(&token), "alice", "validated");
    assert_accepted(&driver.token(&token), "alice", "host");
    while now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(driver.token(&token).reason(), "token_expired");
    // Within the leeway the token is accepted, but is validated each time.
    for _ in 0..2 {
        assert_accepted(&lenient.token(&token), "alice", "validated");
    }
}

#[test]
fn every_message_form_is_validated_once_and_challenged_on_refusal() {
    let site = TokenSite::new("forms");
    let mut driver = site.driver(&[("sso_strip_domain", "univ.fr")]);
    // The mechanism, the message, and the response to the challenge.
    let forms: &[(&str, &str, &str)] = &[
        (
            "OAUTHBEARER",
            "n,a=alice,^Ahost=localhost^Aport=143^Aauth=Bearer T^A^A",
            "01",
        ),
        ("OAUTHBEARER", "n,a=alice,^Aauth=Bearer T^A^A", "again"),
        ("OAUTHBEARER", "n,,^Aauth=Bearer T^A^A", "-"),
        ("OAUTHBEARER", "y,,^Aauth=bearer T^A^A", "2a"),
        (
            "OAUTHBEARER",
            "n,user=alice,^Aport=143^Aauth=Bearer T^A^A",
            "",
        ),
        ("XOAUTH2", "user=alice^Aauth=Bearer T^A^A", "-"),
        // Roundcube, where users log in with their mail address.
        ("XOAUTH2", "user=alice@univ.fr^Aauth=Bearer T^A^A", "-"),
        ("XOAUTH2", "user=^Aauth=Bearer T^A^A", "01"),
        ("XOAUTH2", "user=alice^Aauth=BEARER T^A^A", "again"),
    ];
    for (number, (mechanism, form, answer)) in forms.iter().enumerate() {
        let log_in = |driver: &mut Driver, token: &str| {
            let message = form
                .replace("^A", "\x01")
                .replace(" T\x01", &format!(" {token}\x01"));
            let message = hex(message.as_bytes());
            let answer = match *answer {
                "again" => message.as_str(),
                // An empty response, as opposed to none.
                "" => "-",
                answer => answer,
            };
            driver.ask(&format!("login {mechanism} {message} {answer}"))
        };
        let good = site.token(json!({"jti": number}));
        assert_accepted(&log_in(&mut driver, &good), "alice", "validated");
        let bad = site.token(json!({"jti": number, "exp": now() - 100}));
        let refused = log_in(&mut driver, &bad);
        assert_eq!(refused.steps.len(), 2, "{form}: {refused:?}");
        assert_eq!(refused.code(), code::BADAUTH, "{form}: {refused:?}");
        assert_eq!(refused.reason(), "token_expired");
        let decisions = refused
            .log
            .iter()
            .filter(|(_, line)| line.contains("mech="));
        assert_eq!(decisions.count(), 1, "{form}: {refused:?}");
        let status = if *mechanism == "XOAUTH2" {
            "401"
        } else {
            "invalid_token"
        };
        assert_eq!(challenge(&refused)["status"], status, "{form}");
        // The client tries again on the same connection. The token is not validated again.
        let again = log_in(&mut driver, &bad);
        assert_eq!(
            again.field("source").as_deref(),
            Some("memory"),
            "{again:?}"
        );
    }
}

#[test]
fn malformed_message_is_an_invalid_request() {
    let site = TokenSite::new("malformed");
    let mut driver = site.driver(&[]);
    for (mechanism, status) in [("OAUTHBEARER", "invalid_request"), ("XOAUTH2", "400")] {
        for message in [
            &b"\x01"[..],
            b"n,,",
            b"\0\0PT-12345",
            b"p=tls-unique,,\x01auth=Bearer a.b.c\x01\x01",
        ] {
            let answer = driver.log_in(mechanism, message);
            assert_eq!(answer.reason(), "message_malformed", "{answer:?}");
            assert_eq!(challenge(&answer)["status"], status);
            assert_eq!(answer.code(), code::BADPROT);
        }
    }
}

#[test]
fn challenge_names_the_missing_scope_and_the_discovery_url() {
    let site = TokenSite::new("scope");
    let mut driver = site.driver(&[("jwt_require", "scope=imap realm_access.roles=staff|student")]);
    let claims =
        |scope: &str, role: &str| json!({"scope": scope, "realm_access": {"roles": ["x", role]}});
    let token = site.token(claims("openid imap", "student"));
    assert_accepted(&driver.token(&token), "alice", "validated");

    let answer = driver.token(&site.token(claims("openid", "student")));
    assert_eq!(answer.reason(), "scope_missing");
    assert_eq!(answer.code(), code::NOAUTHZ);
    let challenge_json = challenge(&answer);
    assert_eq!(challenge_json["status"], "insufficient_scope");
    assert_eq!(challenge_json["scope"], "imap");
    let discovery = format!("{}/.well-known/openid-configuration", site.issuer.issuer());
    assert_eq!(challenge_json["openid-configuration"], discovery);

    let answer = driver.token(&site.token(claims("imap", "guest")));
    assert_eq!(answer.reason(), "rule_not_met");
    let xoauth2 = format!(
        "user=alice\x01auth=Bearer {}\x01\x01",
        site.token(claims("x", "y"))
    );
    let answer = driver.log_in("XOAUTH2", xoauth2.as_bytes());
    assert_eq!(challenge(&answer)["status"], "403");
    assert_eq!(challenge(&answer)["scope"], "imap");
    assert_eq!(challenge(&answer)["schemes"], "bearer");
}

#[test]
fn identity_of_the_client_must_match_the_mapped_principal() {
    let site = TokenSite::new("names");
    let mut driver = site.driver(&[("sso_strip_domain", "univ.fr")]);
    let xoauth2 = |driver: &mut Driver, user: &str, sub: &str| {
        let token = site.token(json!({"sub": sub}));
        let message = format!("user={user}\x01auth=Bearer {token}\x01\x01");
        driver.log_in("XOAUTH2", message.as_bytes())
    };
    // The mail address that Roundcube sends with the login as `sub`, and the other way round.
    for (user, sub) in [
        ("alice@univ.fr", "alice"),
        ("alice", "alice@univ.fr"),
        ("alice@UNIV.fr", "alice"),
        ("", "alice@univ.fr"),
    ] {
        let answer = xoauth2(&mut driver, user, sub);
        assert_eq!(
            (answer.code(), answer.authid()),
            (code::OK, "alice"),
            "{answer:?}"
        );
    }
    for (user, sub) in [
        ("bob", "alice"),
        ("alice@evil.example", "alice"),
        ("alice", "alice@evil.example"),
    ] {
        assert_eq!(xoauth2(&mut driver, user, sub).reason(), "user_mismatch");
    }
    // In OAUTHBEARER the name is the authorization identity, which the host decides on. Another
    // name of the same user is accepted.
    let token = site.token(json!({}));
    let mut acting = |authzid: &str| {
        let message = format!("n,a={authzid},\x01auth=Bearer {token}\x01\x01");
        driver.log_in("OAUTHBEARER", message.as_bytes())
    };
    let answer = acting("alice@univ.fr");
    assert_eq!(
        (answer.code(), answer.last[3].as_str()),
        (code::OK, "alice")
    );
    let answer = acting("bob");
    assert_ne!(answer.code(), code::OK, "{answer:?}");
}

#[test]
fn each_issuer_has_its_own_keys_audience_and_rules() {
    let site = TokenSite::new("issuers");
    let portal = SigningKey::ed25519();
    let file = site.pem_file(&[&portal]);
    let issuer = site.issuer.issuer();
    let ca = site.scratch.join("ca.pem").display().to_string();
    let mut driver = site.driver_of_several(&[
        ("jwt_issuers", "univ portal"),
        ("jwt_univ_issuer", issuer.as_str()),
        ("jwt_univ_keys", "discovery"),
        ("jwt_univ_ca_file", ca.as_str()),
        ("jwt_univ_audience", AUDIENCE),
        ("jwt_univ_user_claim", "preferred_username"),
        ("jwt_portal_issuer", "https://portal.example"),
        ("jwt_portal_keys", file.as_str()),
        ("jwt_portal_audience", "imap"),
    ]);
    let of_portal = |iss: &str, aud: &str| {
        let claims = site
            .claims(json!({"iss": iss, "aud": aud, "sub": "bob"}))
            .to_string();
        portal.token(r#"{"alg":"EdDSA"}"#, &claims)
    };
    let univ = site.token(json!({"sub": "a-uuid", "preferred_username": "alice"}));
    assert_accepted(&driver.token(&univ), "alice", "validated");
    let token = of_portal("https://portal.example", "imap");
    assert_accepted(&driver.token(&token), "bob", "validated");
    // Neither issuer may sign tokens of the other.
    let token = of_portal(&issuer, AUDIENCE);
    assert_eq!(driver.token(&token).reason(), "algorithm_not_allowed");
    let token = site.token(json!({"iss": "https://portal.example", "aud": "imap"}));
    assert_eq!(driver.token(&token).reason(), "key_unknown");
    let token = of_portal("https://portal.example", AUDIENCE);
    assert_eq!(driver.token(&token).reason(), "audience_not_allowed");
    let token = of_portal("https://other.example", "imap");
    assert_eq!(driver.token(&token).reason(), "issuer_not_allowed");
}

#[test]
fn longest_token_that_imapd_accepts_is_accepted() {
    let site = TokenSite::new("long");
    let mut driver = site.driver(&[]);
    let frame = oauthbearer("").len();
    let bare = site.token(json!({"groups": ""})).len();
    // Base64url encodes three bytes in four characters.
    let groups = "g".repeat((21_840 - frame - bare) / 4 * 3);
    let token = site.token(json!({"groups": groups}));
    assert!(token.len() > 21_700, "{}", token.len());
    assert_accepted(&driver.token(&token), "alice", "validated");
    assert_accepted(&driver.token(&token), "alice", "host");
}

#[test]
fn tokens_appear_neither_in_the_log_nor_in_files() {
    let site = TokenSite::new("traces");
    let mut driver = site.driver(&[]);
    let tokens = [
        site.token(json!({})),
        site.token(json!({"exp": now() - 100})),
        SigningKey::p256().token(
            r#"{"alg":"ES256","kid":"k1"}"#,
            &site.claims(json!({})).to_string(),
        ),
    ];
    let mut output = String::new();
    for token in &tokens {
        for _ in 0..2 {
            output += &format!("{:?}", driver.token(token));
        }
    }
    drop(driver);
    let mut bytes = output.into_bytes();
    for entry in
        std::fs::read_dir(site.scratch.join("state")).expect("cannot list the state directory")
    {
        bytes.extend(
            std::fs::read(
                entry
                    .expect("cannot read a file of the state directory")
                    .path(),
            )
            .expect("cannot read a file of the state directory"),
        );
    }
    for token in tokens {
        // All tokens have the same header, which is not secret.
        for part in token.split('.').skip(1) {
            let secret = &part.as_bytes()[..24];
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn valgrind_reports_no_errors_for_tokens() {
    let site = TokenSite::new("valgrind");
    let valgrind = Valgrind::new(&site.scratch);
    let rsa = SigningKey::rsa();
    let file = site.pem_file(&[&rsa, &site.key]);
    let mut driver = site.driver_under(&valgrind.words(), &application_options(&file));
    let token = site.token(json!({}));
    for expected in ["validated", "host"] {
        assert_accepted(&driver.token(&token), "alice", expected);
    }
    let claims = site.claims(json!({})).to_string();
    let token = rsa.token(r#"{"alg":"PS256"}"#, &claims);
    assert_accepted(&driver.token(&token), "alice", "validated");
    assert_eq!(
        driver.token(&site.token(json!({"exp": 1}))).reason(),
        "token_expired"
    );
    driver.ask("fuzz OAUTHBEARER 2000 3");
    driver.ask("fuzz XOAUTH2 2000 4");
    valgrind.assert_nothing_wrong(driver);
}
