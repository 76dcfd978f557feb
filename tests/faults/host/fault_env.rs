//! The environment of these tests, and the rows of the table of faults.

use serde_json::json;
use test_support::cas_reply;
use test_support::faulty_cas::Behaviour;
use test_support::key_server::KeyServer;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::token_site::named;
use test_support::libsasl2::{Driver, hex};
use test_support::mint::{SigningKey, now};
use test_support::usage::Usage;
use test_support::wait::{PATIENCE, wait_until};

/// A ticket that is validated before a fault begins.
pub const KNOWN: &str = "PT-1-known";

/// A host application with a CAS server and an issuer.
pub struct FaultEnv {
    pub issuer: KeyServer,
    pub key: SigningKey,
    pub site: Site,
}

impl FaultEnv {
    /// Starts both servers. `KNOWN` is valid.
    pub fn new(name: &str) -> Self {
        let site = Site::new(name);
        let issuer = KeyServer::start(&site.authority);
        let key = SigningKey::p256();
        issuer.set_keys(&[named(&key, "k1")]);
        site.cas.arm(KNOWN, "alice", &[PROXY]);
        Self { issuer, key, site }
    }

    /// Starts a driver with the default options, overridden by `other`.
    pub fn driver(&self, other: &[(&str, &str)]) -> Driver {
        self.driver_under(&[], other)
    }

    /// Like [`FaultEnv::driver`], but runs the driver with the command prefix `wrapper`.
    pub fn driver_under(&self, wrapper: &[&str], other: &[(&str, &str)]) -> Driver {
        let (issuer, ca) = (self.issuer.issuer(), self.site.scratch.join("ca.pem"));
        let ca = ca.display().to_string();
        let mut options = vec![
            ("jwt_issuer", issuer.as_str()),
            ("jwt_keys", "discovery"),
            ("jwt_audience", "*"),
            // Long time-outs; the tests about time set their own.
            ("caspt_timeout", "20"),
            ("jwt_timeout", "20"),
            ("jwt_ca_file", &ca),
        ];
        options.retain(|(name, _)| !other.iter().any(|(changed, _)| changed == name));
        options.extend(other);
        self.site.driver_under(wrapper, &options)
    }

    /// Returns the token with this `jti`.
    pub fn token(&self, number: usize) -> String {
        Self::signed(&self.issuer, &self.key, "k1", number)
    }

    /// Returns a token of `issuer`, signed with `key` and this key ID.
    pub fn signed(issuer: &KeyServer, key: &SigningKey, kid: &str, number: usize) -> String {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let claims = json!({
            "iss": issuer.issuer(), "aud": "mail", "sub": "alice",
            "iat": now() - 5, "exp": now() + 3_600, "jti": number,
        });
        key.token(&header, &claims.to_string())
    }

    /// Makes a ticket valid for one validation.
    pub fn arm(&self, ticket: &str) {
        self.site.cas.arm(ticket, "alice", &[PROXY]);
    }

    /// Makes all tickets valid or invalid from now on.
    pub fn accept_all(&self, good: bool) {
        let reply = match good {
            true => cas_reply::success("alice", &[PROXY], &[]),
            false => cas_reply::failure("INVALID_TICKET", "not recognized"),
        };
        self.site.cas.set(Behaviour::Answer(reply));
    }
}

/// Returns a CASPT message with a ticket alone, encoded for the driver.
pub fn message(ticket: &str) -> String {
    hex(format!("\0\0{ticket}").as_bytes())
}

/// Runs a command of many exchanges. Returns how many were accepted, refused, ended by an outage,
/// and ended otherwise.
pub fn outcome_counts(driver: &mut Driver, command: &str) -> [usize; 4] {
    let answer = driver.ask(command);
    let numbers = answer.last[1..].iter();
    let numbers: Vec<usize> = numbers
        .map(|number| number.parse().expect("the driver did not print a number"))
        .collect();
    numbers
        .try_into()
        .expect("the driver did not print four numbers")
}

/// Waits until the process has a single thread and returns its resource usage. The thread of a
/// request may end after its reply.
pub fn idle_usage(driver: &Driver) -> Usage {
    let is_alone = || Usage::of(driver.pid()).threads == 1;
    assert!(wait_until(PATIENCE, is_alone), "threads are still running");
    Usage::of(driver.pid())
}

/// Prints a row for the table of faults.
pub fn print_row(fault: &str, tried: usize, seen: &str, lost: &str) {
    println!("| {fault} | {tried} | {seen} | {lost} |");
}
