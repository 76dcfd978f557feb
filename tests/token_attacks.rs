//! Tokens that must not open anything: each is refused, with its own reason in the log and none for
//! the attacker.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;

use harness::base64;
use harness::key_server::KeyServer;
use harness::mint::{SigningKey, compact, now};
use libsasl2::token_site::{TokenSite, named, oauthbearer};
use libsasl2::{Driver, code};
use serde_json::{Value, json};

const HEADER: &str = r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;

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

/// Attacks by name, each with its token and its reason.
struct Table {
    site: TokenSite,
    rows: Vec<(String, String, &'static str)>,
}

impl Table {
    fn new(name: &str) -> Self {
        Self {
            site: TokenSite::new(name),
            rows: Vec::new(),
        }
    }

    fn row(&mut self, what: impl Into<String>, token: impl Into<String>, reason: &'static str) {
        self.rows.push((what.into(), token.into(), reason));
    }

    /// A token that the issuer signed, with these claims.
    fn claims(&mut self, what: &str, changes: Value, reason: &'static str) {
        let token = self.site.token(changes);
        self.row(what, token, reason);
    }

    /// A token that the issuer signed, of this text.
    fn text(&mut self, what: &str, header: &str, claims: &str, reason: &'static str) {
        let token = self.site.key.token_by("ES256", header, claims);
        self.row(what, token, reason);
    }

    /// Tries all of them, and that a good token still opens the door.
    fn play(&self, options: &[(&str, &str)]) {
        let mut driver = self.site.driver(options);
        for (what, token, reason) in &self.rows {
            assert_eq!(refused(&mut driver, what, token), *reason, "{what}");
        }
        let answer = driver.token(&self.site.token(json!({})));
        assert_eq!(answer.code(), code::OK, "{answer:?}");
    }
}

#[test]
fn forged_signatures_are_refused() {
    let mut table = Table::new("forged");
    let claims = table.site.claims(json!({})).to_string();
    let rsa = SigningKey::rsa();
    table
        .site
        .issuer
        .set_keys(&[named(&table.site.key, "k1"), named(&rsa, "r1")]);
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = format!(r#"{{"alg":"{none}","kid":"k1"}}"#);
        let token = compact(header.as_bytes(), claims.as_bytes(), b"");
        table.row(none, token, "algorithm_not_allowed");
        let token = compact(header.as_bytes(), claims.as_bytes(), b"signature");
        table.row(format!("{none}, signed"), token, "algorithm_not_allowed");
    }

    // The public key, taken for a secret, in each form in which it goes around.
    for secret in [rsa.pem().into_bytes(), rsa.public_der()] {
        for header in [r#"{"alg":"HS256","kid":"r1"}"#, r#"{"alg":"HS256"}"#] {
            let token = SigningKey::hmac(&secret).token(header, &claims);
            table.row("HMAC with the public key", token, "algorithm_not_allowed");
        }
    }
    let token = SigningKey::hmac(b"").token(r#"{"alg":"HS256","kid":"k1"}"#, &claims);
    table.row("HMAC with nothing", token, "algorithm_not_allowed");

    let token = rsa.token_by("RS256", r#"{"alg":"ES256","kid":"r1"}"#, &claims);
    table.row("an RSA key for ES256", token, "algorithm_not_allowed");
    let token = rsa.token_by("RS256", r#"{"alg":"RS256","kid":"k1"}"#, &claims);
    table.row("RS256 for an EC key", token, "algorithm_not_allowed");
    let token = SigningKey::p256().token(HEADER, &claims);
    table.row("another key by its name", token, "signature_wrong");
    let token = SigningKey::p384().token(r#"{"alg":"ES384","kid":"k1"}"#, &claims);
    table.row("another curve", token, "algorithm_not_allowed");

    let zeros = compact(HEADER.as_bytes(), claims.as_bytes(), &[0; 64]);
    table.row("ECDSA of zeros", zeros, "signature_wrong");
    let good = table.site.token(json!({}));
    let (signed, signature) = good.rsplit_once('.').expect("a token");
    table.row("no signature", format!("{signed}."), "signature_wrong");
    // Whole bytes less, so that it is still base64url as it must be.
    let cut = &signature[..signature.len() - 2 - 12];
    table.row(
        "half a signature",
        format!("{signed}.{cut}"),
        "signature_wrong",
    );
    let der = [
        &[0x30, 0x44, 0x02, 0x20][..],
        &[1; 32],
        &[0x02, 0x20],
        &[1; 32],
    ]
    .concat();
    let token = format!("{signed}.{}", base64::encode_url(&der));
    table.row("ECDSA in DER", token, "signature_wrong");

    let bob = table.site.claims(json!({"sub": "bob"})).to_string();
    let (header, _) = signed.split_once('.').expect("a token");
    let changed = format!(
        "{header}.{}.{signature}",
        base64::encode_url(bob.as_bytes())
    );
    table.row("other claims", changed, "signature_wrong");
    let other_header = base64::encode_url(br#"{"alg":"ES256","kid":"k1","typ":"JWT"}"#);
    let (_, payload) = signed.split_once('.').expect("a token");
    let changed = format!("{other_header}.{payload}.{signature}");
    table.row("another header", changed, "signature_wrong");
    table.play(&[]);
}

#[test]
fn keys_that_a_token_brings_or_points_to_are_never_used_nor_fetched() {
    let mut table = Table::new("foreign");
    let attacker = SigningKey::p256();
    let evil = KeyServer::start_with(None);
    evil.set_keys(&[named(&attacker, "evil")]);
    let claims = table.site.claims(json!({})).to_string();
    let jwk = attacker.jwk();
    for (name, value) in [
        ("jku", json!(evil.jwks_uri())),
        ("x5u", json!(format!("{}/cert.pem", evil.issuer()))),
        ("jwk", jwk),
        ("x5c", json!(["MIIB"])),
    ] {
        for kid in ["k1", "evil"] {
            let mut header = json!({"alg": "ES256", "kid": kid});
            header[name] = value.clone();
            let token = attacker.token(&header.to_string(), &claims);
            table.row(format!("{name} and {kid}"), token, "key_foreign");
        }
    }
    table.play(&[]);
    assert_eq!(evil.connections(), 0);
}

#[test]
fn names_of_keys_are_compared_and_nothing_else() {
    let mut table = Table::new("kid");
    let claims = table.site.claims(json!({})).to_string();
    let long = "x".repeat(10_000);
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "k1' OR '1'='1",
        "k1; DROP TABLE keys",
        "k1\\u0000",
        "K1",
        "",
        "http://localhost/",
        &long,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        // With the issuer's own signature too: a name is not a suggestion.
        for key in [SigningKey::p256(), table.site.key.clone()] {
            table.row(kid, key.token(&header, &claims), "key_unknown");
        }
    }
    table.text(
        "a number",
        r#"{"alg":"ES256","kid":1}"#,
        &claims,
        "token_malformed",
    );
    table.play(&[]);
}

#[test]
fn tokens_of_others_and_for_others_are_refused() {
    let mut table = Table::new("others");
    let issuer = table.site.issuer.issuer();
    table.claims("no iss", json!({"iss": null}), "issuer_not_allowed");
    for iss in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("https", "http"),
        String::new(),
    ] {
        table.claims(&iss, json!({"iss": iss}), "issuer_not_allowed");
    }
    table.claims("iss a list", json!({"iss": [issuer]}), "claims_malformed");
    table.claims("no aud", json!({"aud": null}), "audience_not_allowed");
    table.claims(
        "aud of others",
        json!({"aud": ["a", "b"]}),
        "audience_not_allowed",
    );
    table.claims(
        "aud a part",
        json!({"aud": "https://mail.example/x"}),
        "audience_not_allowed",
    );
    table.play(&[]);
}

#[test]
fn tokens_at_the_wrong_time_are_refused() {
    let mut table = Table::new("times");
    let now = now();
    table.claims("expired", json!({"exp": now - 40}), "token_expired");
    table.claims("not yet", json!({"nbf": now + 60}), "token_not_yet_valid");
    table.claims("future", json!({"iat": now + 60}), "token_from_the_future");
    table.claims("old", json!({"iat": now - 200}), "token_too_old");
    table.claims("no iat", json!({"iat": null}), "claim_missing");
    table.claims(
        "exp in words",
        json!({"exp": "tomorrow"}),
        "claims_malformed",
    );
    table.claims("exp for ever", json!({"exp": 1e300}), "claims_malformed");
    table.claims("iat before time", json!({"iat": -1}), "claims_malformed");
    table.play(&[("jwt_max_age", "100")]);
    let mut table = Table::new("unbounded");
    table.claims("no exp", json!({"exp": null}), "claim_missing");
    table.play(&[]);
}

#[test]
fn tokens_that_are_no_access_tokens_of_a_person_are_refused() {
    let mut table = Table::new("purpose");
    let claims = table.site.claims(json!({})).to_string();
    for name in ["nonce", "at_hash", "c_hash", "auth_time"] {
        table.claims(name, json!({ name: "x" }), "id_token");
    }
    table.claims("events", json!({"events": {"x": {}}}), "type_not_allowed");
    table.claims(
        "a refresh token",
        json!({"typ": "Refresh"}),
        "type_not_allowed",
    );
    table.claims("bound", json!({"cnf": {"jkt": "x"}}), "token_bound");
    table.claims(
        "client",
        json!({"sub": "app", "client_id": "app"}),
        "client_token",
    );
    table.claims("azp", json!({"sub": "app", "azp": "app"}), "client_token");
    let inner = table.site.token(json!({}));
    table.text(
        "nested, and says so",
        r#"{"alg":"ES256","kid":"k1","cty":"JWT"}"#,
        &inner,
        "header_not_allowed",
    );
    table.text("nested", HEADER, &inner, "claims_malformed");
    table.text(
        "nested in JSON",
        HEADER,
        &json!(inner).to_string(),
        "claims_malformed",
    );
    for header in [
        r#"{"alg":"ES256","kid":"k1","crit":["exp"]}"#,
        r#"{"alg":"ES256","kid":"k1","crit":["x"],"x":1}"#,
        r#"{"alg":"ES256","kid":"k1","b64":false,"crit":["b64"]}"#,
    ] {
        table.text(header, header, &claims, "header_not_allowed");
    }
    for typ in ["JOSE", "dpop+jwt", "logout+jwt"] {
        let header = format!(r#"{{"alg":"ES256","kid":"k1","typ":"{typ}"}}"#);
        table.text(typ, &header, &claims, "type_not_allowed");
    }
    table.play(&[]);
}

#[test]
fn claims_that_could_be_read_in_two_ways_are_refused() {
    let mut table = Table::new("claims");
    let good = table.site.claims(json!({})).to_string();
    let with = |text: &str| format!("{},{text}}}", good.trim_end_matches('}'));
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        with(&format!(r#""x":{open}{close}"#))
    };
    for (what, claims) in [
        ("two sub", with(r#""sub":"bob""#)),
        ("two sub, one escaped", with(r#""\u0073ub":"bob""#)),
        ("two of something inside", with(r#""x":{"a":1,"a":2}"#)),
        ("5,000 levels", deep(5_000)),
        // Closed, they would be longer than a token may be.
        (
            "10,000 levels",
            with(&format!(r#""x":{}"#, "[".repeat(10_000))),
        ),
        (
            "200 levels of objects",
            with(&format!(
                r#""x":{}1{}"#,
                r#"{"a":"#.repeat(200),
                "}".repeat(200)
            )),
        ),
        ("not JSON", "sub=alice".to_owned()),
        ("more behind", format!("{good} {{}}")),
        ("a list", format!("[{good}]")),
        ("half", good[..good.len() - 1].to_owned()),
        ("a number that is none", with(r#""x":1e999"#)),
    ] {
        table.text(what, HEADER, &claims, "claims_malformed");
    }
    for (what, sub) in [
        ("sub null", "null"),
        ("sub a number", "7"),
        ("sub a list", r#"["alice"]"#),
        ("sub an object", r#"{"name":"alice"}"#),
    ] {
        let claims = good.replace("\"alice\"", sub);
        table.text(what, HEADER, &claims, "user_claim_unusable");
    }
    table.claims("no sub", json!({"sub": null}), "user_claim_unusable");
    for (what, sub) in [
        ("NUL", "alice\0"),
        ("NUL and another", "alice\0admin"),
        ("nobody", ""),
        ("a line", "alice\nadmin"),
        ("white space", "alice admin"),
        ("backwards", "alice\u{202e}nimda"),
    ] {
        table.claims(what, json!({"sub": sub}), "user_unusable");
    }
    table.claims("long", json!({"sub": "a".repeat(300)}), "user_unusable");
    table.claims(
        "a bit long",
        json!({"sub": "a".repeat(81)}),
        "user_unusable",
    );
    let mut bytes = good.replace("alice", "al??e").into_bytes();
    let at = bytes.windows(2).position(|two| two == b"??").expect("it");
    bytes[at..at + 2].copy_from_slice(b"\xff\xfe");
    let unsigned = compact(HEADER.as_bytes(), &bytes, b"");
    let unsigned = unsigned.trim_end_matches('.');
    let signature = table.site.key.sign("ES256", unsigned.as_bytes());
    let token = format!("{unsigned}.{}", base64::encode_url(&signature));
    table.row("no UTF-8", token, "claims_malformed");
    table.play(&[]);
}

#[test]
fn what_has_not_the_form_of_a_token_is_refused_before_anything_is_read() {
    let mut table = Table::new("form");
    let good = table.site.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{good}");
    };
    // Of 64 bytes the last character has four bits to spare.
    let last = signature.chars().last().expect("a signature");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).expect("base64url");
    let twin = &alphabet[place + 1..=place + 1];
    let not_canonical = format!("{}{twin}", &good[..good.len() - 1]);
    let standard = base64::encode(b"{\"alg\":\"ES256\",\"kid\":\"\xc3\xbf\xc3\xbf>>>???\"}");
    for (what, token) in [
        ("another spelling of the same", not_canonical),
        ("padding", format!("{header}.{claims}.{signature}==")),
        (
            "standard base64",
            format!("{standard}.{claims}.{signature}"),
        ),
        ("white space", format!("{header}. {claims}.{signature}")),
        ("a line end", format!("{header}.{claims}\r\n.{signature}")),
        ("a tab", format!("{header}.\t{claims}.{signature}")),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.{signature}")),
        (
            "encrypted",
            format!("{header}.{claims}.{signature}.{header}.{claims}"),
        ),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("nothing", String::new()),
        ("a password", "correct horse".replace(' ', "-")),
        ("JSON of JWS", "{}".to_owned()),
        (
            "40 kB",
            format!("{header}.{}.{signature}", "A".repeat(40_000)),
        ),
        (
            "10,000 levels",
            compact(
                HEADER.as_bytes(),
                format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)).as_bytes(),
                b"x",
            ),
        ),
        ("a header of no JSON", compact(b"alg: ES256", b"{}", b"x")),
        (
            "two alg",
            compact(br#"{"alg":"ES256","alg":"none"}"#, b"{}", b"x"),
        ),
    ] {
        table.row(what, token, "token_malformed");
    }
    table.play(&[]);
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
