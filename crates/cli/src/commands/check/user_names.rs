//! Valid options about user names that are dangerous: single sign-on for administrators, and names
//! that the mail server changes.

#![forbid(unsafe_code)]

use super::context::CheckContext;
use super::diagnostic::Severity;
use crate::imapd_conf::Format;
use crate::privileges::host_names;
use sso_core::config::Config;
use sso_core::policy::host_names::{HostNamePolicy, HostNames, ImapdNames, VirtualDomains};

/// Options of imapd.conf(5) that give their users additional rights; a service prefix is possible.
const PRIVILEGED: [&str; 2] = ["admins", "proxyservers"];

/// Adds the warnings about user names.
pub(crate) fn check(context: &mut CheckContext<'_>, config: &Config) {
    if context.conf.format() == Format::Imapd && context.service.is_none() {
        check_privileged_users(context, config);
    }
    if config.users.host_names == HostNamePolicy::Any {
        let what = "any: whatever name the mail server makes of a user's is accepted, that of \
                    another user too; use domain or same, unless pts_module is ldap";
        context.add_for_sasl(Severity::Warning, "sso_host_names", what);
    }
    if let HostNames::Imapd(names) = host_names(context.conf) {
        check_default_domain(context, &names);
    }
}

/// Users in `admins`, `proxyservers` or `lmtp_admins` should be denied.
fn check_privileged_users(context: &mut CheckContext<'_>, config: &Config) {
    let is_privileged = |option: &str| {
        PRIVILEGED.iter().any(|name| {
            let of = option.strip_suffix(name);
            of.is_some_and(|of| of.is_empty() || of.ends_with('_'))
        })
    };
    let names = context.conf.names().filter(|name| is_privileged(name));
    let options: Vec<String> = names.map(str::to_owned).collect();
    let denied = context.conf.written_name("sso_denied_users");
    for option in options {
        let value = context.conf.as_written(&option).unwrap_or_default();
        for user in value.split_whitespace() {
            if config.users.check_denied(user).is_err() {
                continue;
            }
            let problem = format!("single sign-on may authenticate {user}");
            let remedy = match user.strip_prefix("group:") {
                Some(_) => "list the users and not their group".to_owned(),
                None => format!("add {user} to {denied}"),
            };
            context.add(Severity::Warning, &option, problem, remedy);
        }
    }
}

/// Without `virtdomains`, imapd 3.6 removes the default domain from the name of the mailbox, but
/// not from the user name.
fn check_default_domain(context: &mut CheckContext<'_>, names: &ImapdNames) {
    let domain = &names.default_domain;
    let mut realms = names.login_realms.iter();
    if names.virtual_domains == VirtualDomains::Off
        && realms.any(|realm| realm.eq_ignore_ascii_case(domain))
    {
        let problem = format!(
            "lists the default domain {domain}: without virtdomains imapd 3.6 aborts if a user of \
             it logs in"
        );
        let remedy = "set virtdomains to userid, or take defaultdomain out";
        context.add(Severity::Warning, "loginrealms", problem, remedy);
    }
}
