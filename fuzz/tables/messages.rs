//! Messages of clients, whole, broken or nonsense, by what the fuzzer draws; and who may
//! be logged in by one.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cas::{USERS, is_of};

/// The issuer of the tokens, whom they are for, and the secret that they are signed by.
pub const ISSUER: &str = "https://sso.univ.example/";
pub const AUDIENCE: &str = "imap.univ.example";
pub const SECRET: [u8; 32] = [7; 32];

/// The one ordinary password.
pub const PASSWORD: &str = "secret";

/// What the fuzzer draws.
pub struct Draw<'d>(pub &'d [u8]);

impl<'d> Draw<'d> {
    /// The next byte; 0 when there is none.
    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// The next byte, if there is one.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    fn bytes(&mut self, count: usize) -> &'d [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// A message, and the credential in it if it is whole.
pub struct Message {
    /// As long as it is and no longer: what reads on is found out.
    pub bytes: Box<[u8]>,
    pub credential: Option<String>,
}

const NAMES: [&str; 8] = [
    "",
    "alice",
    "bob",
    "Alice",
    "alice@univ.example",
    "bob@other.example",
    "a=b,c",
    "\u{e9}",
];

impl Message {
    /// Of the mechanism of this name.
    pub fn draw(mechanism: &str, draw: &mut Draw<'_>) -> Self {
        let shape = draw.byte();
        if shape >= 0xe0 {
            let count = usize::from(draw.byte());
            return Self {
                bytes: draw.bytes(count).into(),
                credential: None,
            };
        }
        let credential = credential(draw);
        let (authzid, authcid) = (draw.one(&NAMES), draw.one(&NAMES));
        let text = match mechanism {
            "OAUTHBEARER" => {
                format!("n,a={authzid},\x01host=h\x01auth=Bearer {credential}\x01\x01")
            }
            "XOAUTH2" => format!("user={authcid}\x01auth=Bearer {credential}\x01\x01"),
            _ => format!("{authzid}\0{authcid}\0{credential}"),
        };
        let mut bytes = text.into_bytes();
        if shape < 0xc0 {
            return Self {
                bytes: bytes.into(),
                credential: Some(credential),
            };
        }
        let at = usize::from(draw.byte()) * bytes.len() / 256;
        match shape % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, draw.byte()),
            2 => drop(bytes.remove(at)),
            _ => bytes[at] ^= draw.byte(),
        }
        Self {
            bytes: bytes.into(),
            credential: None,
        }
    }

    /// Whether this message may log `user` in: a good credential of his is in it.
    pub fn may_be(&self, user: &str) -> bool {
        let text = String::from_utf8_lossy(&self.bytes);
        let has_token = tokens()
            .iter()
            .any(|token| token.user == Some(user) && text.contains(&token.text));
        let tickets = text.match_indices("PT-").map(|(at, _)| &text[at..]);
        has_token || tickets.into_iter().any(|ticket| is_of(ticket, user))
    }
}

fn credential(draw: &mut Draw<'_>) -> String {
    let kind = draw.byte();
    let number = u16::from_be_bytes([draw.byte(), draw.byte()]);
    match kind % 8 {
        0 | 1 => format!("PT-{}-{number}", draw.one(&USERS)),
        2 => format!("PT-made-up-{number}"),
        3 if kind > 0xf0 => format!("PT-error-{number}"),
        3 => PASSWORD.to_owned(),
        _ => tokens()[usize::from(number) % tokens().len()].text.clone(),
    }
}

struct Token {
    user: Option<&'static str>,
    text: String,
}

/// Good ones of each user, and others of nobody.
fn tokens() -> &'static [Token] {
    static TOKENS: OnceLock<Vec<Token>> = OnceLock::new();
    TOKENS.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.expect("a time after 1970").as_secs();
        let (header, end) = (r#"{"alg":"HS256"}"#, now + 86_400);
        let claims = |user: &str, aud: &str, end: u64| {
            format!(
                r#"{{"iss":"{ISSUER}","aud":"{aud}","sub":"{user}","iat":{},"exp":{end}}}"#,
                now - 3_600
            )
        };
        let mut tokens = Vec::new();
        for user in USERS {
            tokens.push(token(Some(user), header, &claims(user, AUDIENCE, end)));
        }
        tokens.push(token(None, header, &claims("alice", "others", end)));
        tokens.push(token(None, header, &claims("alice", AUDIENCE, now - 60)));
        tokens.push(token(None, header, &claims("a lice", AUDIENCE, end)));
        let none = r#"{"alg":"none"}"#;
        tokens.push(token(None, none, &claims("alice", AUDIENCE, end)));
        let unknown = r#"{"alg":"RS256","kid":"x"}"#;
        tokens.push(token(None, unknown, &claims("alice", AUDIENCE, end)));
        tokens
    })
}

fn token(user: Option<&'static str>, header: &str, claims: &str) -> Token {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    Token {
        user,
        text: format!("{signed}.{signature}"),
    }
}
