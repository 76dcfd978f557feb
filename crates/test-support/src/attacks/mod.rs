//! Tokens that must be rejected, each with the reason code in the log and the check that fails. The
//! plugin must reject them, and `sasl-sso explain` must report why.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

pub mod replies;

use crate::base64;
use crate::key_server::KeyServer;
use crate::libsasl2::token_site::{TokenSite, named};
use crate::mint::{SigningKey, compact, now};
use serde_json::{Value, json};

const HEADER: &str = r#"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#;

/// A token to attack the plugin with.
pub struct Attack {
    pub what: String,
    pub token: String,
    /// The reason code in the log.
    pub reason: &'static str,
    /// The check that fails, as `sasl-sso explain` names it.
    pub step: &'static str,
}

/// Attacks on a test environment that is configured with these options.
pub struct Table {
    pub site: TokenSite,
    pub options: Vec<(&'static str, &'static str)>,
    pub rows: Vec<Attack>,
}

impl Table {
    fn new(name: &str) -> Self {
        Self {
            site: TokenSite::new(name),
            options: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn row(&mut self, what: impl Into<String>, token: impl Into<String>, reason: &'static str) {
        self.rows.push(Attack {
            what: what.into(),
            token: token.into(),
            reason,
            step: usual_step(reason),
        });
    }

    /// Sets the check at which the last row fails, if it is not the usual one for its reason.
    fn at(&mut self, step: &'static str) {
        self.rows.last_mut().expect("a row").step = step;
    }

    /// Adds a token with these claims, signed by the issuer.
    fn claims(&mut self, what: &str, changes: Value, reason: &'static str) {
        let token = self.site.token(changes);
        self.row(what, token, reason);
    }

    /// Adds a token with this header and payload text, signed by the issuer.
    fn text(&mut self, what: &str, header: &str, claims: &str, reason: &'static str) {
        let token = self.site.key.token_by("ES256", header, claims);
        self.row(what, token, reason);
    }
}

/// The check at which a token is rejected for this reason, unless its row names another check.
fn usual_step(reason: &str) -> &'static str {
    match reason {
        "token_malformed" => "form",
        "header_not_allowed" => "header",
        "claims_malformed" => "claims",
        "issuer_not_allowed" => "issuer",
        "type_not_allowed" => "type",
        "algorithm_not_allowed" | "key_unknown" | "key_foreign" | "signature_wrong" => "signature",
        "audience_not_allowed" => "aud",
        "token_expired" => "exp",
        "token_not_yet_valid" => "nbf",
        "token_from_the_future" | "claim_missing" => "iat",
        "token_too_old" => "age",
        "id_token" | "token_bound" => "purpose",
        "user_claim_unusable" => "user",
        "client_token" => "person",
        "user_unusable" => "principal",
        _ => panic!("no attack is rejected for {reason}"),
    }
}

/// Signatures that are missing, made with another key, or made over other content.
pub fn forged_signatures() -> Table {
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
        table.at("header");
        let token = compact(header.as_bytes(), claims.as_bytes(), b"signature");
        table.row(format!("{none}, signed"), token, "algorithm_not_allowed");
        table.at("header");
    }

    // The public key, in each common encoding, used as an HMAC secret.
    for secret in [rsa.pem().into_bytes(), rsa.public_der()] {
        for header in [r#"{"alg":"HS256","kid":"r1"}"#, r#"{"alg":"HS256"}"#] {
            let token = SigningKey::hmac(&secret).token(header, &claims);
            table.row("HMAC with the public key", token, "algorithm_not_allowed");
        }
    }
    let token = SigningKey::hmac(b"").token(r#"{"alg":"HS256","kid":"k1"}"#, &claims);
    table.row("HMAC with an empty secret", token, "algorithm_not_allowed");

    let token = rsa.token_by("RS256", r#"{"alg":"ES256","kid":"r1"}"#, &claims);
    table.row("an RSA key for ES256", token, "algorithm_not_allowed");
    let token = rsa.token_by("RS256", r#"{"alg":"RS256","kid":"k1"}"#, &claims);
    table.row("RS256 for an EC key", token, "algorithm_not_allowed");
    let token = SigningKey::p256().token(HEADER, &claims);
    table.row("another key with this key ID", token, "signature_wrong");
    let token = SigningKey::p384().token(r#"{"alg":"ES384","kid":"k1"}"#, &claims);
    table.row("another curve", token, "algorithm_not_allowed");

    let zeros = compact(HEADER.as_bytes(), claims.as_bytes(), &[0; 64]);
    table.row("ECDSA of zeros", zeros, "signature_wrong");
    let good = table.site.token(json!({}));
    let (signed, signature) = good.rsplit_once('.').expect("a token");
    table.row("no signature", format!("{signed}."), "signature_wrong");
    // Cuts whole groups of characters, so that the rest is still valid base64url.
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
    table
}

/// Tokens whose header contains a key or refers to one, all of them served by `evil`.
pub fn foreign_keys(evil: &KeyServer) -> Table {
    let mut table = Table::new("foreign");
    let attacker = SigningKey::p256();
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
    table
}

/// Key IDs that are a path, a query, or spelled in another case.
pub fn key_ids() -> Table {
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
        // A token signed by the issuer's own key is rejected too: the key ID must match.
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
    table.at("header");
    table
}

/// Tokens of other issuers, and tokens for other audiences.
pub fn other_issuers_and_audiences() -> Table {
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
    table.claims(
        "iss as a list",
        json!({"iss": [issuer]}),
        "claims_malformed",
    );
    table.at("issuer");
    table.claims("no aud", json!({"aud": null}), "audience_not_allowed");
    table.claims(
        "other aud",
        json!({"aud": ["a", "b"]}),
        "audience_not_allowed",
    );
    table.claims(
        "part of an aud",
        json!({"aud": "https://mail.example/x"}),
        "audience_not_allowed",
    );
    table
}

/// Tokens whose times (`exp`, `nbf`, `iat`) make them invalid.
pub fn wrong_times() -> Table {
    let mut table = Table::new("times");
    let now = now();
    table.claims("expired", json!({"exp": now - 40}), "token_expired");
    table.claims("not yet", json!({"nbf": now + 60}), "token_not_yet_valid");
    table.claims(
        "iat in the future",
        json!({"iat": now + 60}),
        "token_from_the_future",
    );
    table.claims("old", json!({"iat": now - 200}), "token_too_old");
    table.claims("no iat", json!({"iat": null}), "claim_missing");
    table.claims(
        "exp as text",
        json!({"exp": "tomorrow"}),
        "claims_malformed",
    );
    table.at("exp");
    table.claims(
        "exp out of range",
        json!({"exp": 1e300}),
        "claims_malformed",
    );
    table.at("exp");
    table.claims("negative iat", json!({"iat": -1}), "claims_malformed");
    table.at("iat");
    table.options.push(("jwt_max_age", "100"));
    table
}

/// A token without any limit on its lifetime.
pub fn unbounded() -> Table {
    let mut table = Table::new("unbounded");
    table.claims("no exp", json!({"exp": null}), "claim_missing");
    table.at("exp");
    table
}

/// Tokens that are not access tokens of a person, or whose header demands an unsupported feature.
pub fn other_purposes() -> Table {
    let mut table = Table::new("purpose");
    let claims = table.site.claims(json!({})).to_string();
    for name in ["nonce", "at_hash", "c_hash", "auth_time"] {
        table.claims(name, json!({ name: "x" }), "id_token");
    }
    table.claims("events", json!({"events": {"x": {}}}), "type_not_allowed");
    table.at("purpose");
    table.claims(
        "a refresh token",
        json!({"typ": "Refresh"}),
        "type_not_allowed",
    );
    table.at("purpose");
    table.claims("bound", json!({"cnf": {"jkt": "x"}}), "token_bound");
    table.claims(
        "client",
        json!({"sub": "app", "client_id": "app"}),
        "client_token",
    );
    table.claims("azp", json!({"sub": "app", "azp": "app"}), "client_token");
    let inner = table.site.token(json!({}));
    table.text(
        "nested, with cty",
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
    table
}

/// Claims that are ambiguous, or that name no user.
pub fn ambiguous_claims() -> Table {
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
        (
            "a duplicate member of an object",
            with(r#""x":{"a":1,"a":2}"#),
        ),
        ("5,000 levels", deep(5_000)),
        // With its brackets closed, the token would exceed the maximum token length.
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
        ("trailing text", format!("{good} {{}}")),
        ("a list", format!("[{good}]")),
        ("truncated", good[..good.len() - 1].to_owned()),
        ("a number out of range", with(r#""x":1e999"#)),
    ] {
        table.text(what, HEADER, &claims, "claims_malformed");
    }
    for (what, sub) in [
        ("sub null", "null"),
        ("sub as a number", "7"),
        ("sub as a list", r#"["alice"]"#),
        ("sub as an object", r#"{"name":"alice"}"#),
    ] {
        let claims = good.replace("\"alice\"", sub);
        table.text(what, HEADER, &claims, "user_claim_unusable");
    }
    table.claims("no sub", json!({"sub": null}), "user_claim_unusable");
    for (what, sub) in [
        ("NUL", "alice\0"),
        ("NUL and another name", "alice\0admin"),
        ("empty", ""),
        ("a line end", "alice\nadmin"),
        ("white space", "alice admin"),
        ("a bidirectional override", "alice\u{202e}nimda"),
    ] {
        table.claims(what, json!({"sub": sub}), "user_unusable");
    }
    table.claims(
        "300 bytes",
        json!({"sub": "a".repeat(300)}),
        "user_unusable",
    );
    table.claims("81 bytes", json!({"sub": "a".repeat(81)}), "user_unusable");
    table.at("mail user");
    let mut bytes = good.replace("alice", "al??e").into_bytes();
    let at = bytes
        .windows(2)
        .position(|two| two == b"??")
        .expect("the marker");
    bytes[at..at + 2].copy_from_slice(b"\xff\xfe");
    let unsigned = compact(HEADER.as_bytes(), &bytes, b"");
    let unsigned = unsigned.trim_end_matches('.');
    let signature = table.site.key.sign("ES256", unsigned.as_bytes());
    let token = format!("{unsigned}.{}", base64::encode_url(&signature));
    table.row("not UTF-8", token, "claims_malformed");
    table
}

/// Inputs that do not have the form of a token.
pub fn malformed() -> Table {
    let mut table = Table::new("form");
    let good = table.site.token(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{good}");
    };
    // The signature has 64 bytes, so the last base64url character has four unused bits.
    let last = signature.chars().last().expect("a signature");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(last).expect("base64url");
    let twin = &alphabet[place + 1..=place + 1];
    let not_canonical = format!("{}{twin}", &good[..good.len() - 1]);
    let standard = base64::encode(b"{\"alg\":\"ES256\",\"kid\":\"\xc3\xbf\xc3\xbf>>>???\"}");
    for (what, token) in [
        ("non-canonical base64url", not_canonical),
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
        ("empty", String::new()),
        ("a password", "correct horse".replace(' ', "-")),
        ("JWS in JSON", "{}".to_owned()),
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
    ] {
        table.row(what, token, "token_malformed");
    }
    for (what, header) in [
        ("a header that is not JSON", &b"alg: ES256"[..]),
        ("two alg", br#"{"alg":"ES256","alg":"none"}"#),
    ] {
        table.row(what, compact(header, b"{}", b"x"), "token_malformed");
        table.at("header");
    }
    table
}
