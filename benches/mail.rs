//! The mail server of the benches: a Cyrus with the plugin, and a CAS without a flaw.

use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::{plugin, site};
use test_support::scratch::Scratch;

/// Everybody's password.
pub const PASSWORD: &str = "secret";

/// How many users there are: `user1` and so on.
const USERS: usize = 8;

/// A Cyrus with users who have a password in sasldb and can get tickets.
pub struct Mail {
    /// Gives out the tickets that it is told to.
    pub cas: FaultyCas,
    pub cyrus: Cyrus,
    pub users: Vec<String>,
    pub scratch: Scratch,
}

impl Mail {
    /// Starts it.
    pub fn start() -> Self {
        let cas = FaultyCas::start_plain();
        let lines = [
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_proxies", site::PROXY.to_owned()),
        ];
        let options = Options {
            plugin: Some(plugin()),
            imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            ..Options::default()
        };
        let (scratch, cyrus, users) = cyrus("bench-mail", options);
        Self {
            cas,
            cyrus,
            users,
            scratch,
        }
    }
}

/// A Cyrus with the users in its sasldb.
pub fn cyrus(name: &str, options: Options) -> (Scratch, Cyrus, Vec<String>) {
    let scratch = Scratch::new(name);
    let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
    let users: Vec<String> = (1..=USERS).map(|number| format!("user{number}")).collect();
    for user in &users {
        cyrus.sasl_user(user, PASSWORD);
    }
    (scratch, cyrus, users)
}
