//! Fuzz targets for tokens.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::config::{Config, SessionsConfig};
use crate::credential::Token;
use crate::error::Reason;
use crate::fuzz_support::input::line;
pub(crate) use crate::fuzz_support::jwk::{jwks, key_files, metadata, pem, state};
use crate::fuzz_support::policy::{InMemory, NoLog, STOPPED_CLOCK, Table};
use crate::jwt::JwtValidator;
use crate::jwt::jws;
use crate::platform::clock::Clock;
use crate::platform::deadline::Deadline;
use crate::principal::Principal;
use crate::session_cache::{SessionCache, Validity};
use crate::trace::CheckObserver;

/// The secret and the seed of a key (RFC 8037, A.1) that sign the tokens.
const SECRET: [u8; 64] = [7; 64];
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// The keys of these, and keys whose private parts are not used (RFC 7515, A.2 and A.3).
const KEYS: &str = include_str!("keys.json");

/// A complete token. It is accepted only if it was signed with the keys.
pub(crate) fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(token) = Token::parse(&text) {
        assert_eq!(token.expose(), text);
        let is_good = validate_token(&token).is_some();
        let (signed, signature) = text.rsplit_once('.').expect("a signature");
        assert!(!is_good || signatures(signed).any(|good| good == signature));
    }
}

/// A header in the first line and claims in the others, signed as the header says. The verdict
/// agrees with the claims, and a changed signature is refused.
pub(crate) fn claims(data: &[u8]) {
    let (header, claims) = line(data);
    let [header, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{payload}");
    for signature in signatures(&signed) {
        let Ok(token) = Token::parse(&format!("{signed}.{signature}")) else {
            continue;
        };
        let Some((principal, validity)) = validate_token(&token) else {
            continue;
        };
        check_accepted(claims, principal.as_str(), validity);
        let other = format!(
            "{}{signature}",
            if signature.starts_with('A') { 'B' } else { 'A' }
        );
        let other = other.get(..1).into_iter().chain(signature.get(1..));
        let other: String = other.collect();
        let tampered = Token::parse(&format!("{signed}.{other}"));
        assert!(validate_token(&tampered.expect("a token")).is_none());
    }
}

/// Whether a token can be parsed. If so, it is no password.
pub(crate) fn is_readable(token: &Token) -> bool {
    let observer = CheckObserver::NONE;
    let parts = observer.observe(jws::check_form(token));
    parts.is_ok_and(|parts| {
        observer.observe(jws::check_header(&parts)).is_ok()
            && observer.observe(jws::check_payload(&parts)).is_ok()
    })
}

/// Validates a token. An observer does not change the verdict.
fn validate_token(token: &Token) -> Option<(Principal, Validity)> {
    let env = env();
    let sessions = env.sessions.open(&NoLog).expect("sessions");
    let validate = |witness| {
        let deadline = Deadline::new(Duration::from_secs(60), &|| false);
        env.jwt
            .validate(token, &sessions, &deadline, &NoLog, witness)
    };
    let verdict = validate(CheckObserver::NONE);
    let tell = |seen| assert!(!format!("{seen:?}").is_empty());
    assert_eq!(verdict, validate(CheckObserver::new(&tell)));
    if let Err(failure) = &verdict {
        assert!(!failure.detail().contains(token.expose()), "{failure}");
        assert_ne!(failure.reason(), Reason::InternalError, "{failure}");
    }
    verdict.ok()
}

/// Compares the verdict with the claims as another JSON parser reads them.
fn check_accepted(claims: &[u8], principal: &str, validity: Validity) {
    let claims: Value = serde_json::from_slice(claims).expect("JSON");
    let now = STOPPED_CLOCK.wall().as_millis() as f64 / 1_000.0;
    let time = |name: &str| {
        claims
            .get(name)
            .map(|value| value.as_f64().expect("a time"))
    };
    let is_univ = claims["iss"] == "https://sso.univ.example/";
    assert!(time("exp").is_none_or(|exp| exp + 30.0 > now));
    assert!(time("nbf").is_none_or(|nbf| nbf <= now + 30.0));
    let iat = time("iat").expect("when it was issued");
    assert!(iat <= now + 30.0);
    let expires = validity.expires.as_millis() as f64 / 1_000.0;
    assert!(time("exp").is_none_or(|exp| expires <= exp));
    for name in ["events", "cnf", "at_hash", "c_hash"] {
        assert!(claims.get(name).is_none(), "{name}");
    }
    if is_univ {
        assert_eq!(claims["sub"], principal);
        let audience = &claims["aud"];
        let is_ours = |value: &Value| value == "imap.univ.example";
        assert!(is_ours(audience) || audience.as_array().expect("aud").iter().any(is_ours));
        let is_granted = match &claims["scope"] {
            Value::String(scope) => scope.split(' ').any(|one| one == "imap"),
            Value::Array(scopes) => scopes.iter().any(|one| one == "imap"),
            Value::Object(scopes) => {
                let member = scopes.get("imap").unwrap_or(&Value::Null);
                !matches!(member, Value::Null | Value::Bool(false))
            }
            _ => false,
        };
        assert!(is_granted);
        assert_ne!(claims.get("client_id"), Some(&claims["sub"]));
        assert!(time("exp").is_some());
    } else {
        assert!(iat + 3_600.0 + 30.0 > now && expires <= iat + 3_600.0 + 0.001);
        let said = [claims.get("mail.login"), claims["mail"].get("login")];
        let said: Vec<&Value> = said.into_iter().flatten().collect();
        assert_eq!(said, [principal]);
    }
}

/// All valid signatures of `signed`.
fn signatures(signed: &str) -> impl Iterator<Item = String> {
    let of = |algorithm| hmac::sign(&hmac::Key::new(algorithm, &SECRET), signed.as_bytes());
    let macs = [hmac::HMAC_SHA256, hmac::HMAC_SHA384, hmac::HMAC_SHA512];
    let mut all = macs
        .map(|algorithm| of(algorithm).as_ref().to_vec())
        .to_vec();
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key");
    all.push(pair.sign(signed.as_bytes()).as_ref().to_vec());
    all.into_iter()
        .map(|signature| URL_SAFE_NO_PAD.encode(signature))
}

struct TokenEnv {
    jwt: JwtValidator,
    sessions: SessionCache,
    _keys: InMemory,
}

/// One strict issuer, and one that accepts any issuer.
fn env() -> &'static TokenEnv {
    static ENV: OnceLock<TokenEnv> = OnceLock::new();
    ENV.get_or_init(|| {
        let keys = InMemory::new(KEYS.as_bytes());
        let path = keys.path().display().to_string();
        let options = [
            ("jwt_issuers", "univ any"),
            ("jwt_univ_issuer", "https://sso.univ.example/"),
            ("jwt_univ_keys", &path),
            ("jwt_univ_audience", "imap.univ.example"),
            ("jwt_univ_require", "scope=imap"),
            ("jwt_any_issuer", "*"),
            ("jwt_any_keys", &path),
            ("jwt_any_audience", "*"),
            ("jwt_any_max_age", "3600"),
            ("jwt_any_user_claim", "mail.login"),
            ("jwt_any_allow_clients", "yes"),
        ];
        let config = Config::read(&Table(&options)).expect("a configuration");
        // The directory cannot be created, so that sessions are in memory.
        let sessions = SessionsConfig {
            state_dir: "/proc/self/nowhere".into(),
            capacity: 100,
        };
        TokenEnv {
            jwt: JwtValidator::new(config.jwt.expect("issuers")),
            sessions: SessionCache::new(sessions, Arc::new(STOPPED_CLOCK)),
            _keys: keys,
        }
    })
}
