//! A token that nobody has seen: the plugin verifies it and judges it; with the end of the connection
//! it writes its session. Beside the verification alone, of the same tokens by the same library: no server can do with less.

use crate::measure::{Series, rounds};
use crate::table::{Better, Row};
use crate::tokens::Tokens;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use std::time::Instant;
use test_support::base64;
use test_support::key_server::KeyServer;
use test_support::libsasl2::{Driver, Kit};
use test_support::mint::SigningKey;
use test_support::scratch::Scratch;

const ROUNDS: usize = 21;
/// Tokens of one round, none of which comes again.
const TOKENS: usize = 400;

/// The rows of the table.
pub fn rows() -> Vec<Row> {
    let scratch = Scratch::new("bench-token");
    let kit = Kit::new(&scratch);
    ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256"]
        .into_iter()
        .flat_map(|algorithm| of_algorithm(&scratch, &kit, algorithm))
        .chain([of_published_keys(&scratch, &kit)])
        .collect()
}

fn of_algorithm(scratch: &Scratch, kit: &Kit, algorithm: &str) -> Vec<Row> {
    // One round more than counts.
    let tokens = Tokens::minted(algorithm, (ROUNDS + 1) * TOKENS);
    let mut driver = driver(scratch, kit, &tokens, algorithm, &[]);
    let mut bare = Bare::new(algorithm, &tokens);
    let mut cycles = Series::default();
    let [login, verification] = rounds(
        ROUNDS,
        [
            &mut || {
                let times = driver.medians(&format!("walk OAUTHBEARER {TOKENS}"));
                cycles.push(times.1.as_secs_f64() * 1e6);
                times.0.as_secs_f64() * 1e6
            },
            &mut || bare.median(),
        ],
    );
    let row = |what: String, times: &Series| {
        let beside = ("verification", &verification);
        Row::new(what, "µs", times, beside, Better::Less)
    };
    let mut rows = vec![row(format!("unknown token, {algorithm}"), &login)];
    if algorithm == "RS256" {
        rows.push(row("… and its connection".to_owned(), &cycles.warmed_up()));
    }
    rows
}

/// The same where the issuer publishes its keys, which the store has then.
fn of_published_keys(scratch: &Scratch, kit: &Kit) -> Row {
    let tokens = Tokens::minted("RS256", (ROUNDS + 1) * TOKENS);
    let issuer = KeyServer::start_with(None);
    issuer.set_keys(&[tokens.key.jwk()]);
    let options = [("jwt_keys", issuer.jwks_uri())];
    let mut driver = driver(scratch, kit, &tokens, "published", &options);
    let mut bare = Bare::new("RS256", &tokens);
    let [login, verification] = rounds(
        ROUNDS,
        [
            &mut || {
                let times = driver.medians(&format!("walk OAUTHBEARER {TOKENS}"));
                times.0.as_secs_f64() * 1e6
            },
            &mut || bare.median(),
        ],
    );
    let beside = ("verification", &verification);
    Row::new(
        "… RS256, published keys",
        "µs",
        &login,
        beside,
        Better::Less,
    )
}

/// A server that has not seen any token yet.
fn driver(
    scratch: &Scratch,
    kit: &Kit,
    tokens: &Tokens,
    name: &str,
    other: &[(&'static str, String)],
) -> Driver {
    let state = scratch.join(format!("state-{name}")).display().to_string();
    let mut options = tokens.options(scratch, name);
    options.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    options.extend_from_slice(other);
    options.push(("sso_state_dir", state));
    let options: Vec<(&str, &str)> = options
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    let mut driver = kit.driver(scratch, &options);
    driver.ask("quiet 1");
    let messages = tokens.messages(scratch, name, usize::MAX);
    driver.ask(&format!("messages {}", messages.display()));
    driver
}

/// Says whether a signature is of this key, over what is signed.
type Verifier = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// Verification without a server around it.
struct Bare {
    verifier: Verifier,
    /// What is signed, and the signatures.
    tokens: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
}

impl Bare {
    fn new(algorithm: &str, tokens: &Tokens) -> Self {
        let parts = tokens.parts().map(|(signed, signature)| {
            let signature = base64::decode_url(signature).expect("base64url");
            (signed.as_bytes().to_vec(), signature)
        });
        Self {
            verifier: verifier(algorithm, &tokens.key),
            tokens: parts.collect::<Vec<_>>().into_iter(),
        }
    }

    /// The next round's verifications: the median in microseconds.
    fn median(&mut self) -> f64 {
        let mut times = Series::default();
        for (signed, signature) in self.tokens.by_ref().take(TOKENS) {
            let start = Instant::now();
            let is_good = (self.verifier)(&signed, &signature);
            times.push(start.elapsed().as_secs_f64() * 1e6);
            assert!(is_good, "a token that is not verified");
        }
        times.median()
    }
}

/// The verifier of an algorithm, with its key as ready as it can be.
fn verifier(algorithm: &str, key: &SigningKey) -> Verifier {
    let by: &'static dyn VerificationAlgorithm = match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
        "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
        "EdDSA" => &signature::ED25519,
        _ => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.secret());
            return Box::new(move |signed, tag| hmac::verify(&key, signed, tag).is_ok());
        }
    };
    let key = ParsedPublicKey::new(by, key.public_der()).expect("a public key");
    Box::new(move |signed, signature| key.verify_sig(signed, signature).is_ok())
}
