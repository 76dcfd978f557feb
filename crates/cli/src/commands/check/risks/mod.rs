//! What is dangerous although it is valid, and what cannot work although the plugin
//! takes it.
//!
//! The plugin refuses a configuration as a whole, and with it every mechanism: what
//! is found here is told by this command alone. Each finding is a function, and
//! [`CHECKS`] lists them: a further one goes there.
//!
//! - `mech_list`: mechanisms that are configured and not offered
//! - `cas`, `tokens`, `names`: the policy for tickets, for tokens, and for user names
//! - `roca`: RSA keys that can be factored
//! - `passwords`: who checks ordinary passwords
//! - `values`: values that are not read as they look
//! - `tls`, `version`: TLS that clients cannot get

#![forbid(unsafe_code)]

pub(crate) mod cas;
pub(crate) mod literal_values;
pub(crate) mod mech_list;
pub(crate) mod passwords;
pub(crate) mod roca;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod user_domains;
pub(crate) mod version;

pub(crate) use tls::starttls_is_off;
pub(crate) use version::Version;

use super::context::Subject;
use super::cyrus_conf::CyrusConf;
use super::{Arguments, Examined};

/// What the checks look at, besides the file of the [`Subject`].
pub(crate) struct Context<'a> {
    pub(crate) arguments: &'a Arguments,
    /// What was read of the file for this service.
    pub(crate) examined: &'a Examined,
    /// The same of all services.
    pub(crate) all: &'a [Examined],
    pub(crate) cyrus: Option<&'a CyrusConf>,
    /// The version of Cyrus, if it is known.
    pub(crate) version: Option<Version>,
    /// The mechanisms that the plugin offers to libsasl2.
    pub(crate) mechanisms: &'a [&'static str],
}

/// One check: it adds its finding to the report of the subject, or nothing.
type Check = fn(&mut Subject<'_>, &Context<'_>);

/// All checks.
const CHECKS: &[Check] = &[
    // What cannot work.
    cas::nobody_may_present_users,
    mech_list::mechanism_is_not_listed,
    mech_list::commas,
    tls::no_starttls,
    // What is dangerous.
    cas::direct_tickets_without_a_rule,
    cas::proxies_without_tls,
    cas::server_without_tls,
    cas::address_of_an_endpoint,
    tokens::anybody_of_published_keys,
    tokens::server_without_tls,
    tokens::addresses_that_may_be_unverified,
    tokens::roca_keys,
    user_domains::several_domains_become_one,
    user_domains::domain_of_the_address,
    passwords::saslauthd_does_not_answer,
    passwords::saslauthd_can_be_replaced,
    literal_values::quotes,
    literal_values::commas,
];

/// Makes all checks for one service.
pub(crate) fn check(subject: &mut Subject<'_>, context: &Context<'_>) {
    for check in CHECKS {
        check(subject, context);
    }
}

impl Context<'_> {
    /// Whether an option could be read: what is wrong with its value was said.
    pub(crate) fn is_sound(&self, option: &str) -> bool {
        let faults = &self.examined.faults;
        !faults.iter().any(|fault| fault.option == option)
    }
}
