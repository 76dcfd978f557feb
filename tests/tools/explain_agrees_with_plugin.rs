//! `sasl-sso explain` must agree with the plugin: on valid tokens of every algorithm in a real
//! imapd, and on a thousand random mutations of a valid token in the real libsasl2.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use test_support::authority::Authority;
use test_support::base64;
use test_support::cyrus::{Cyrus, Options};
use test_support::explaining::explain_json;
use test_support::imap::Imap;
use test_support::key_server::KeyServer;
use test_support::libsasl2::token_site::{AUDIENCE, TokenSite, named, oauthbearer};
use test_support::libsasl2::{Answer, code};
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_until};

#[test]
fn explain_and_imapd_agree_on_valid_tokens_of_every_algorithm() {
    let scratch = Scratch::new("imapd");
    let authority = Authority::new();
    let issuer = KeyServer::start(&authority);
    let rsa = SigningKey::rsa();
    let mut keys = vec![
        (SigningKey::p256(), vec!["ES256"]),
        (SigningKey::p384(), vec!["ES384"]),
        (SigningKey::p521(), vec!["ES512"]),
        (SigningKey::ed25519(), vec!["EdDSA"]),
    ];
    keys.push((
        rsa,
        vec!["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    ));
    let published: Vec<Value> = keys
        .iter()
        .map(|(key, algorithms)| named(key, algorithms[0]))
        .collect();
    issuer.set_keys(&published);
    // HMAC secrets are not published, but read from a file.
    let secret = SigningKey::hmac(&[7; 64]);
    let file = scratch.write("secret.pem", secret.pem());
    keys.push((secret, vec!["HS256", "HS384", "HS512"]));
    let ca = authority.write_ca(&scratch).display().to_string();
    let lines = [
        ("sasl_mech_list", "OAUTHBEARER".to_owned()),
        ("allowplaintext", "yes".to_owned()),
        ("sasl_jwt_issuers", "sso own".to_owned()),
        ("sasl_jwt_sso_issuer", issuer.issuer()),
        ("sasl_jwt_sso_keys", "discovery".to_owned()),
        ("sasl_jwt_sso_audience", AUDIENCE.to_owned()),
        ("sasl_jwt_sso_ca_file", ca),
        ("sasl_jwt_own_issuer", "own".to_owned()),
        ("sasl_jwt_own_keys", file.display().to_string()),
        ("sasl_jwt_own_audience", AUDIENCE.to_owned()),
    ];
    let options = Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    let conf = cyrus.imapd_conf();
    for (key, algorithms) in &keys {
        for algorithm in algorithms {
            let kid = algorithms[0];
            let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
            let iss = if kid == "HS256" {
                "own".to_owned()
            } else {
                issuer.issuer()
            };
            let claims = json!({
                "iss": iss, "aud": AUDIENCE, "sub": "alice",
                "iat": now(), "exp": now() + 600,
            });
            let token = key.token(&header, &claims.to_string());
            let accepted = ("accepted".to_owned(), "alice".to_owned());
            let output = explain_json(&conf, &token, &[]);
            assert_eq!(output.verdict(), accepted, "{algorithm}: {output:?}");
            assert_eq!(
                output.step("session")[0],
                "noted",
                "{algorithm}: {output:?}"
            );
            let mut imap = Imap::connect(cyrus.imap_port());
            let reply = imap.authenticate("OAUTHBEARER", &oauthbearer(&token), &[b"\x01"]);
            assert!(reply.ok, "{algorithm}: {reply:?}\n{}", cyrus.log().tail());
            imap.logout();
            // The session is written after the client has its answer.
            let is_cached = wait_until(PATIENCE, || {
                let output = explain_json(&conf, &token, &[]);
                assert_eq!(output.verdict(), accepted, "{algorithm}: {output:?}");
                output.step("session")[0] == "ok"
            });
            assert!(is_cached, "{algorithm}");
        }
    }
    // When run as root, explain mutated_token to the user of Cyrus: no file of the state directory
    // belongs to root.
    let owner = std::fs::metadata(cyrus.state_dir())
        .expect("the directory")
        .uid();
    for entry in std::fs::read_dir(cyrus.state_dir()).expect("the directory") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("a file").uid(), owner, "{entry:?}");
    }
}

/// Random numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn number(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = mixed ^ (mixed >> 31);
        usize::try_from(mixed % below as u64).expect("a small number")
    }

    fn one_of<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.number(values.len())]
    }

    /// A time that is far enough from every limit that two clocks must agree on it.
    fn time(&mut self) -> Value {
        let far = [0, 10, 55, 70, 200, 600, 4_000, 100_000];
        let far = *self.one_of(&far) as f64;
        let time = now() as f64 + if self.number(2) == 0 { far } else { -far };
        match self.number(8) {
            0 => json!(time + 0.5),
            1 => json!(time.to_string()),
            _ => json!(time as u64),
        }
    }

    fn value(&mut self) -> Value {
        let values = json!([
            null, true, false, 0, -1, 7.5, 1e300, "", "alice", "Alice", "bob", "alice@univ.example",
            "a b", "al\u{1b}ice", "imap", "mail imap", "Bearer", "ID", "app", "x\u{0}y", "ünïcode",
            [], ["imap"], ["a", "b"], [1, null], {}, {"a": 1}, {"roles": ["staff"]},
            AUDIENCE, [AUDIENCE, "x"], "true", "client-credentials",
        ]);
        self.one_of(values.as_array().expect("values")).clone()
    }
}

const CLAIMS: [&str; 26] = [
    "iss",
    "aud",
    "sub",
    "exp",
    "nbf",
    "iat",
    "exp",
    "nbf",
    "iat",
    "azp",
    "client_id",
    "scope",
    "scp",
    "typ",
    "nonce",
    "at_hash",
    "auth_time",
    "acr",
    "cnf",
    "events",
    "email",
    "email_verified",
    "realm_access",
    "preferred_username",
    "idtyp",
    "gty",
];

/// A valid token with random mutations: of its claims, header or times, and then signed by its key;
/// or of its characters.
fn mutated_token(site: &TokenSite, base_claims: &Value, random: &mut Random) -> String {
    let mut header = json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"});
    let mut changes = base_claims.clone();
    let kind = random.number(10);
    for _ in 0..=random.number(3) {
        match kind {
            0..=3 => {
                let name = *random.one_of(&CLAIMS);
                let is_time = ["exp", "nbf", "iat"].contains(&name) && random.number(3) > 0;
                changes[name] = if is_time {
                    random.time()
                } else {
                    random.value()
                };
            }
            4..=5 => {
                let names = [
                    "alg", "kid", "typ", "crit", "b64", "cty", "jku", "x5c", "zip", "x",
                ];
                let name = *random.one_of(&names);
                let values = json!([
                    "ES256",
                    "es256",
                    "none",
                    "HS256",
                    "RS256",
                    "ES384",
                    "k1",
                    "k2",
                    "K1",
                    "JWT",
                    "at+jwt",
                    "application/AT+JWT",
                    "JOSE",
                    "",
                    null,
                    1,
                    [],
                    ["exp"],
                    true,
                ]);
                header[name] = random.one_of(values.as_array().expect("values")).clone();
            }
            6 => {
                for name in ["iat", "nbf", "exp"] {
                    changes[name] = random.time();
                }
            }
            _ => {}
        }
    }
    let claims = site.claims(changes).to_string();
    match kind {
        7 => {
            let claims = with_one_character_mutated(&claims, random);
            site.key.token_by("ES256", &header.to_string(), &claims)
        }
        8..=9 => {
            let token = site.key.token_by("ES256", &header.to_string(), &claims);
            (0..=random.number(2))
                .fold(token, |token, _| with_one_character_mutated(&token, random))
        }
        _ => site.key.token_by("ES256", &header.to_string(), &claims),
    }
}

/// Replaces, removes or doubles one character of visible ASCII.
fn with_one_character_mutated(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = random.number(characters.len());
    match random.number(4) {
        0 => drop(characters.remove(place)),
        1 => characters.insert(place, characters[place]),
        _ => {
            let letter = u8::try_from(random.number(94)).expect("a small number") + b'!';
            characters[place] = char::from(letter);
        }
    }
    characters.into_iter().collect()
}

/// The outcome, and the reason or user, from the plugin's log line.
fn logged_verdict(answer: &Answer) -> (String, String) {
    let field = |name| answer.field(name).unwrap_or_default();
    (field("outcome"), field("reason") + &field("user"))
}

#[test]
fn explain_and_plugin_agree_on_a_thousand_mutated_tokens() {
    const MUTATIONS_PER_CONFIGURATION: usize = 334;
    let mut random = Random(4711);
    let mut outcomes: BTreeMap<(String, String), usize> = BTreeMap::new();
    for options in [
        &[][..],
        &[
            ("jwt_max_age", "120"),
            ("jwt_require", "scope=imap|x sub=alice|bob|app"),
        ],
        &[
            ("jwt_allow_clients", "yes"),
            ("jwt_user_claim", "email"),
            ("jwt_algorithms", "ES256 RS256"),
            ("sso_strip_domain", "univ.example"),
        ],
    ] {
        let site = TokenSite::new("changes");
        // With these claims most tokens pass the checks before the rules.
        let base_claims =
            json!({"scope": "imap", "email": "alice@univ.example", "email_verified": true});
        let conf = site.conf(options);
        let mut driver = site.driver(options);
        // After this login the key set is cached on the host, so that explain need not fetch it
        // each time.
        let first = driver.token(&site.token(base_claims.clone()));
        assert_eq!(first.code(), code::OK, "{first:?}");
        for number in 0..MUTATIONS_PER_CONFIGURATION {
            let token = mutated_token(&site, &base_claims, &mut random);
            let output = explain_json(&conf, &token, &[]);
            let logged_verdict = logged_verdict(&driver.token(&token));
            let part = |index: usize| {
                let part = token.split('.').nth(index).and_then(base64::decode_url);
                String::from_utf8_lossy(&part.unwrap_or_default()).into_owned()
            };
            assert_eq!(
                output.verdict(),
                logged_verdict,
                "{number}: {} {}",
                part(0),
                part(1)
            );
            let status = i32::from(logged_verdict.0 != "accepted");
            assert_eq!(output.status, status, "{output:?}");
            *outcomes.entry(logged_verdict).or_default() += 1;
        }
    }
    // The comparison only means something if there are many different outcomes.
    let accepted = outcomes.keys().filter(|(outcome, _)| outcome == "accepted");
    assert!(
        accepted.count() >= 2 && outcomes.len() >= 20,
        "{outcomes:?}"
    );
}
