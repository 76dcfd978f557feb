//! Valid options that are dangerous, and options that cannot work although the plugin accepts them.
//!
//! A fault in the plugin's options disables all mechanisms, so the plugin accepts such options, and
//! only this command reports them. Each check is a function in [`CHECKS`]; new checks must be added
//! there.
//!
//! - `mech_list`: mechanisms that are configured but not offered
//! - `cas`, `tokens`, `user_domains`: the policy for tickets, tokens and user names
//! - `roca`: RSA keys that can be factored
//! - `passwords`: the saslauthd that checks ordinary passwords
//! - `literal_values`: quotes and commas in values
//! - `tls`, `version`: TLS that clients cannot use

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

use super::context::CheckContext;
use super::cyrus_conf::CyrusConf;
use super::{Arguments, Examined};

/// The inputs of the checks besides the file in [`CheckContext`].
pub(crate) struct RiskInputs<'a> {
    pub(crate) arguments: &'a Arguments,
    /// The file, read for this service.
    pub(crate) examined: &'a Examined,
    /// The files, read for all services.
    pub(crate) all: &'a [Examined],
    pub(crate) cyrus: Option<&'a CyrusConf>,
    /// The version of Cyrus, if known.
    pub(crate) version: Option<Version>,
    /// The mechanisms that the plugin offers to libsasl2.
    pub(crate) mechanisms: &'a [&'static str],
}

/// A check, which adds diagnostics to the report of the context.
type Check = fn(&mut CheckContext<'_>, &RiskInputs<'_>);

/// All checks.
const CHECKS: &[Check] = &[
    // Options that cannot work.
    cas::neither_proxies_nor_direct_tickets,
    mech_list::mechanism_is_not_listed,
    mech_list::commas,
    tls::no_starttls,
    // Dangerous options.
    cas::direct_tickets_without_a_rule,
    cas::proxies_without_tls,
    cas::server_without_tls,
    cas::address_of_an_endpoint,
    tokens::any_issuer_or_audience_with_published_keys,
    tokens::server_without_tls,
    tokens::unverified_addresses,
    tokens::roca_keys,
    user_domains::several_domains_become_one,
    user_domains::domain_of_the_address,
    passwords::saslauthd_does_not_answer,
    passwords::saslauthd_can_be_replaced,
    literal_values::quotes,
    literal_values::commas,
];

/// Runs all checks for one service.
pub(crate) fn check(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    for check in CHECKS {
        check(context, inputs);
    }
}

impl RiskInputs<'_> {
    /// Whether an option has a valid value. Invalid values are reported elsewhere.
    pub(crate) fn is_sound(&self, option: &str) -> bool {
        let faults = &self.examined.faults;
        !faults.iter().any(|fault| fault.option == option)
    }
}
