//! A host that takes tickets and tokens, and its row in the table of faults.

use crate::harness::cas_reply;
use crate::harness::faulty_cas::Behaviour;
use crate::harness::key_server::KeyServer;
use crate::harness::mint::{SigningKey, now};
use crate::harness::usage::Usage;
use crate::harness::wait::{PATIENCE, wait_until};
use crate::libsasl2::site::{PROXY, Site};
use crate::libsasl2::token_site::named;
use crate::libsasl2::{Driver, hex};
use serde_json::json;

/// A ticket that is known when a fault begins.
pub const KNOWN: &str = "PT-1-known";

/// A driver's site with a CAS and an issuer of tokens.
pub struct World {
    pub issuer: KeyServer,
    pub key: SigningKey,
    pub site: Site,
}

impl World {
    /// Both answer as they should, and `KNOWN` is good.
    pub fn new(name: &str) -> Self {
        let site = Site::new(name);
        let issuer = KeyServer::start(&site.authority);
        let key = SigningKey::p256();
        issuer.set_keys(&[named(&key, "k1")]);
        site.cas.arm(KNOWN, "alice", &[PROXY]);
        Self { issuer, key, site }
    }

    /// A host with the site's options, but for these.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// The same under another program.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        let (issuer, ca) = (self.issuer.issuer(), self.site.scratch.join("ca.pem"));
        let ca = ca.display().to_string();
        let mut options = vec![
            ("jwt_issuer", issuer.as_str()),
            ("jwt_keys", "discovery"),
            ("jwt_audience", "*"),
            // Generous: only some faults are about time, and they say so.
            ("caspt_timeout", "20"),
            ("jwt_timeout", "20"),
            ("jwt_ca_file", &ca),
        ];
        options.retain(|(name, _)| !other.iter().any(|(changed, _)| changed == name));
        options.extend(other);
        self.site.driver_under(wrapper, &options)
    }

    /// A token of this number.
    pub fn token(&self, number: usize) -> String {
        Self::signed(&self.issuer, &self.key, "k1", number)
    }

    /// A token of this issuer's, signed with this key by that name.
    pub fn signed(issuer: &KeyServer, key: &SigningKey, kid: &str, number: usize) -> String {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let claims = json!({
            "iss": issuer.issuer(), "aud": "mail", "sub": "alice",
            "iat": now() - 5, "exp": now() + 3_600, "jti": number,
        });
        key.token(&header, &claims.to_string())
    }

    /// Makes a ticket good.
    pub fn arm(&self, ticket: &str) {
        self.site.cas.arm(ticket, "alice", &[PROXY]);
    }

    /// From now on every ticket is good, or none.
    pub fn accept_all(&self, good: bool) {
        let reply = match good {
            true => cas_reply::success("alice", &[PROXY], &[]),
            false => cas_reply::failure("INVALID_TICKET", "not recognized"),
        };
        self.site.cas.set(Behaviour::Answer(reply));
    }
}

/// The message of CASPT with a ticket alone, as the driver reads it.
pub fn message(ticket: &str) -> String {
    hex(format!("\0\0{ticket}").as_bytes())
}

/// How many exchanges were good, refused, without a server, and anything else.
pub fn ends(driver: &mut Driver, command: &str) -> [usize; 4] {
    let answer = driver.ask(command);
    let numbers = answer.last[1..].iter();
    let numbers: Vec<usize> = numbers
        .map(|number| number.parse().expect("a number"))
        .collect();
    numbers.try_into().expect("four numbers")
}

/// What a host takes when nothing is under way: the thread of a request may end after its answer.
pub fn settled(driver: &Driver) -> Usage {
    let is_alone = || Usage::of(driver.pid()).threads == 1;
    assert!(wait_until(PATIENCE, is_alone), "threads were left behind");
    Usage::of(driver.pid())
}

/// Prints a row of the table of faults.
pub fn row(fault: &str, tried: usize, seen: &str, lost: &str) {
    println!("| {fault} | {tried} | {seen} | {lost} |");
}
