//! Tests of the key generator, the mock issuer and the real issuer, on which other tests rely.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use test_support::authority::Authority;
use test_support::base64;
use test_support::cas::browser;
use test_support::key_server::{Behaviour, DISCOVERY, JWKS, KeyServer};
use test_support::mint::{SigningKey, compact, now};
use test_support::node;
use test_support::oidc::{ALGORITHMS, AUDIENCE, CLIENT, OidcProvider, ROBOT};
use test_support::scratch::Scratch;

#[test]
fn token_contains_header_and_claims_verbatim() {
    let key = SigningKey::hmac(b"secret");
    let twice = r#"{"alg":"HS256","alg":"none"}"#;
    let nested = "[".repeat(200);
    let token = key.token_by("HS256", twice, &nested);
    let parts: Vec<_> = token.split('.').map(base64::decode_url).collect();
    assert_eq!(parts[0].as_deref(), Some(twice.as_bytes()));
    assert_eq!(parts[1].as_deref(), Some(nested.as_bytes()));
    assert_eq!(parts[2].as_ref().map(Vec::len), Some(32));
    assert_eq!(
        key.token(r#"{"alg":"none"}"#, "{}"),
        "eyJhbGciOiJub25lIn0.e30."
    );
    assert_eq!(compact(b"\xff", b"", b"\0"), "_w..AA");
}

#[test]
fn independent_library_verifies_every_token() {
    let scratch = Scratch::new("minted");
    let claims = json!({"sub": "anna", "exp": now() + 60});
    let mut minted = Vec::new();
    for (key, algorithms) in [
        (
            SigningKey::rsa(),
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
        ),
        (SigningKey::p256(), &["ES256"]),
        (SigningKey::p384(), &["ES384"]),
        (SigningKey::p521(), &["ES512"]),
        (SigningKey::ed25519(), &["EdDSA"]),
        (SigningKey::hmac(&[7; 64]), &["HS256", "HS384", "HS512"]),
    ] {
        for alg in algorithms {
            let header = json!({"alg": alg}).to_string();
            let token = key.token(&header, &claims.to_string());
            minted.push(json!([token, alg, key.jwk()]));
            if key.jwk()["kty"] != "oct" {
                minted.push(json!([token, alg, key.pem()]));
            }
        }
    }
    assert_eq!(verified(&scratch, &minted), vec![claims; 13 + 10]);
}

#[test]
fn generated_keys_are_new_and_have_the_right_size() {
    assert_ne!(SigningKey::p256().pem(), SigningKey::p256().pem());
    for (key, coordinate, signature) in [
        (SigningKey::p256(), 32, 64),
        (SigningKey::p384(), 48, 96),
        (SigningKey::p521(), 66, 132),
    ] {
        let jwk = key.jwk();
        let alg = match jwk["crv"].as_str() {
            Some("P-256") => "ES256",
            Some("P-384") => "ES384",
            _ => "ES512",
        };
        for part in ["x", "y"] {
            let part = base64::decode_url(jwk[part].as_str().unwrap());
            assert_eq!(part.map(|part| part.len()), Some(coordinate), "{jwk}");
        }
        assert_eq!(key.sign(alg, b"").len(), signature);
    }
    let rsa = SigningKey::rsa();
    let modulus = base64::decode_url(rsa.jwk()["n"].as_str().unwrap());
    assert_eq!(modulus.map(|modulus| modulus.len()), Some(256));
    assert_eq!(rsa.sign("PS512", b"").len(), 256);
}

#[test]
fn pem_files_have_the_format_of_cyrus() {
    let secret = SigningKey::hmac(&[0xfb; 60]).pem();
    let lines: Vec<_> = secret.lines().collect();
    assert_eq!(lines[0], "-----BEGIN HMAC KEY-----");
    assert_eq!(lines[1], "+/v7".repeat(16));
    assert_eq!(lines[2], "+/v7".repeat(4));
    assert_eq!(lines[3], "-----END HMAC KEY-----");
    let key = SigningKey::ed25519();
    let text = key.pem();
    let text = text.strip_prefix("-----BEGIN PUBLIC KEY-----\n");
    let text = text.and_then(|text| text.strip_suffix("\n-----END PUBLIC KEY-----\n"));
    assert_eq!(text.and_then(base64::decode), Some(key.public_der()));
}

#[test]
fn key_server_behaves_as_set() {
    let authority = Authority::new();
    let mut server = KeyServer::start(&authority);
    let client = browser(authority.ca_pem());
    let get = |uri: String| {
        let reply = client.get(uri).send()?;
        Ok::<_, reqwest::Error>((reply.status().as_u16(), reply.text()?))
    };
    let json = |uri: String| serde_json::from_str::<Value>(&get(uri).unwrap().1).unwrap();
    let discovery = || format!("{}{DISCOVERY}", server.issuer());

    assert_eq!(json(discovery())["issuer"], server.issuer());
    assert_eq!(json(discovery())["jwks_uri"], server.jwks_uri());
    assert_eq!(json(server.jwks_uri()), json!({"keys": []}));
    let mut key = SigningKey::p256().jwk();
    key["kid"] = "1".into();
    server.set_keys(std::slice::from_ref(&key));
    assert_eq!(json(server.jwks_uri()), json!({"keys": [key]}));
    server.set_jwks("no JSON");
    assert_eq!(get(server.jwks_uri()).unwrap().1, "no JSON");
    server.set_discovery(json!({"issuer": "https://elsewhere.example"}));
    let below = format!("{}/realms/mail{DISCOVERY}", server.issuer());
    assert_eq!(json(below)["issuer"], "https://elsewhere.example");
    assert_eq!(get(server.issuer()).unwrap().0, 404);
    assert_eq!(server.requests_for(JWKS), 3);
    assert_eq!(server.requests()[0], format!("GET {DISCOVERY} HTTP/1.1"));

    server.set_at(JWKS, Behaviour::Redirect("/keys".to_owned()));
    assert_eq!(get(server.jwks_uri()).unwrap().0, 302);
    assert_eq!(get(discovery()).unwrap().0, 200);
    server.set(Behaviour::Huge(10_000_000));
    assert_eq!(get(discovery()).unwrap().1.len(), 10_000_000);
    server.set(Behaviour::CloseOnAccept);
    assert!(get(server.jwks_uri()).is_err());
    server.behave();
    assert_eq!(get(server.jwks_uri()).unwrap().1, "no JSON");
    server.set_delay(Duration::from_millis(100));
    let asked = Instant::now();
    assert_eq!(get(server.jwks_uri()).unwrap().0, 200);
    assert!(asked.elapsed() >= Duration::from_millis(100));

    let connections = server.connections();
    let uri = server.jwks_uri();
    server.refuse();
    assert!(get(uri.clone()).is_err_and(|error| error.is_connect()));
    server.listen_again();
    assert_eq!(get(uri).unwrap().0, 200);
    assert_eq!(server.connections(), connections + 1);

    let stranger = KeyServer::start_with(Some(&authority.wrong_name_certificate()));
    assert!(get(stranger.jwks_uri()).is_err_and(|error| error.is_connect()));
    let plain = KeyServer::start_with(None);
    assert!(plain.issuer().starts_with("http:"));
    assert_eq!(get(plain.jwks_uri()).unwrap().0, 200);

    server.set(Behaviour::HangAfterRequest);
    let hanging = client
        .get(server.jwks_uri())
        .timeout(Duration::from_millis(300));
    assert!(hanging.send().is_err_and(|error| error.is_timeout()));
    let dropped = Instant::now();
    drop(server);
    assert!(dropped.elapsed() < Duration::from_secs(2));
}

#[test]
fn real_issuer_signs_with_every_algorithm() {
    let scratch = Scratch::new("oidc");
    let authority = Authority::new();
    let provider = OidcProvider::start(&scratch, &authority);
    let keys = published(&provider, &authority);
    let mut signed = Vec::new();
    for alg in ALGORITHMS {
        let token = provider.access_token("anna", alg);
        let [header, claims] = parts(&token);
        assert_eq!(header["alg"], alg);
        assert_eq!(header["typ"], "at+jwt");
        assert_eq!(claims["iss"], provider.issuer());
        assert_eq!(claims["aud"], AUDIENCE);
        assert_eq!(claims["sub"], "anna");
        assert_eq!(claims["email"], "anna@example.org");
        assert_eq!(claims["client_id"], CLIENT);
        assert_eq!(claims["scope"], "imap");
        assert!(claims["exp"].as_u64() > Some(now()), "{claims}");
        let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        signed.push(json!([token, alg, key]));
    }
    assert_eq!(verified(&scratch, &signed).len(), ALGORITHMS.len());
    assert_eq!(provider.key_requests(), 1);
}

#[test]
fn real_issuer_issues_every_kind_of_token() {
    let scratch = Scratch::new("oidc");
    let authority = Authority::new();
    let provider = OidcProvider::start(&scratch, &authority);
    let scope = |scope| {
        parts(&provider.access_token_with_scope("anna", "ES256", scope))[1]["scope"].clone()
    };
    assert_eq!(scope("smtp imap"), "smtp imap");
    assert_eq!(scope("smtp"), "smtp");
    assert_eq!(scope(""), Value::Null);
    let [header, claims] = parts(&provider.id_token("anna"));
    assert_eq!(header["typ"], "JWT");
    assert_eq!(claims["aud"], CLIENT);
    assert_eq!(claims["sub"], "anna");
    let [header, claims] = parts(&provider.client_token());
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["aud"], AUDIENCE);
    assert_eq!(claims["sub"], ROBOT);
    assert_eq!(claims["client_id"], ROBOT);
}

#[test]
fn real_issuer_rotates_keys_and_restarts() {
    let scratch = Scratch::new("oidc");
    let authority = Authority::new();
    let mut provider = OidcProvider::start(&scratch, &authority);
    let issuer = provider.issuer();
    let signs =
        |provider: &OidcProvider| parts(&provider.access_token("anna", "PS256"))[0]["kid"].clone();
    let publishes = |provider: &OidcProvider, kid: &Value| {
        published(provider, &authority)
            .iter()
            .any(|key| key["kid"] == *kid)
    };
    let first = signs(&provider);
    provider.stop();
    let client = browser(authority.ca_pem());
    assert!(
        client
            .get(provider.jwks_uri())
            .send()
            .is_err_and(|error| error.is_connect())
    );
    provider.start_again();
    assert_eq!(signs(&provider), first);

    provider.rotate_keys(true);
    let second = signs(&provider);
    assert_ne!(second, first);
    assert!(publishes(&provider, &second) && publishes(&provider, &first));
    provider.rotate_keys(false);
    let third = signs(&provider);
    assert!(publishes(&provider, &third) && !publishes(&provider, &second));
    assert!(!publishes(&provider, &first));
    assert_eq!(provider.issuer(), issuer);

    let uri = provider.jwks_uri();
    let home = scratch.path().to_owned();
    drop((provider, scratch));
    assert!(
        client
            .get(uri)
            .send()
            .is_err_and(|error| error.is_connect())
    );
    assert!(!home.exists());
}

/// Decodes the header and the claims of a token.
fn parts(token: &str) -> [Value; 2] {
    let mut parts = token.split('.').map(|part| {
        let json = base64::decode_url(part).expect("the token is not base64url");
        serde_json::from_slice(&json).expect("the token is not JSON")
    });
    [(); 2].map(|()| parts.next().expect("the token has too few parts"))
}

fn published(provider: &OidcProvider, authority: &Authority) -> Vec<Value> {
    let reply = browser(authority.ca_pem()).get(provider.jwks_uri()).send();
    let text = reply
        .and_then(|reply| reply.text())
        .expect("cannot fetch the key set");
    let keys: Value = serde_json::from_str(&text).expect("the key set is not JSON");
    keys["keys"]
        .as_array()
        .cloned()
        .expect("the key set has no keys")
}

/// Verifies tokens, each with its algorithm and key, with npm's `jose`, and returns their claims.
fn verified(scratch: &Scratch, tokens: &[Value]) -> Vec<Value> {
    let home = scratch.create_dir("verifier");
    let script = include_str!("../../crates/test-support/src/oidc/verify.mjs");
    let command = node::command(scratch, &home, "verify", script);
    let output = scratch.run("verify", command, &json!(tokens).to_string());
    let claims = output.lines().map(serde_json::from_str);
    claims
        .collect::<Result<_, _>>()
        .expect("the verifier printed no claims")
}
