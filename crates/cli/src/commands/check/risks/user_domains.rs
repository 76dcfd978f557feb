//! Users of several domains that are mapped to the same mail user.

#![forbid(unsafe_code)]

use super::RiskInputs;
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::Format;
use sso_core::config::is_on;
use sso_core::policy::host_names::HostNamePolicy;

/// `alice@a.example` and `alice@b.example` become the same user if both domains are stripped, or if
/// one is stripped and names without a domain belong to the other.
pub(crate) fn several_domains_become_one(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let mapping = &inputs.examined.config.users.mapping;
    if !inputs.is_sound("sso_strip_domain") || !inputs.is_sound("sso_realm") {
        return;
    }
    let mut stripped = mapping.strip_domains.clone();
    stripped.sort();
    stripped.dedup();
    let Some((option, home)) = domain_of_plain_names(context, mapping.realm.as_deref()) else {
        if stripped.len() > 1 {
            let what = format!(
                "a user of the same name in {} opens one and the same mailbox; strip one domain, \
                 and leave the others in the names",
                stripped.join(" and in ")
            );
            context.add_for_sasl(Severity::Warning, "sso_strip_domain", &what);
        }
        return;
    };
    let others: Vec<&str> = stripped
        .iter()
        .filter(|domain| !domain.eq_ignore_ascii_case(&home))
        .map(String::as_str)
        .collect();
    if !others.is_empty() {
        let what = format!(
            "users of {} come out as users of {home} ({option}), and open the mailboxes of those \
             of the same name there; strip {home} alone",
            others.join(" and ")
        );
        context.add_for_sasl(Severity::Warning, "sso_strip_domain", &what);
    }
}

/// The option that adds a domain to names without one, and that domain.
fn domain_of_plain_names(
    context: &CheckContext<'_>,
    realm: Option<&str>,
) -> Option<(String, String)> {
    let conf = context.conf;
    if let Some(realm) = realm {
        return Some((conf.written_name("sso_realm"), realm.to_owned()));
    }
    if conf.format() == Format::Sasl {
        return None;
    }
    let default = conf.host_option("defaultdomain");
    let has_domains = conf
        .host_option("virtdomains")
        .is_some_and(|value| is_on(value) != Some(false));
    let domain = match has_domains {
        true => default.unwrap_or("internal"),
        false => default?,
    };
    Some(("defaultdomain".to_owned(), domain.to_owned()))
}

/// With `virtdomains: on`, imapd adds the domain of the address that the client connected to.
pub(crate) fn domain_of_the_address(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let conf = context.conf;
    let adds_domain = conf.host_option("virtdomains").and_then(is_on) == Some(true);
    let is_relevant = !inputs.mechanisms.is_empty() && conf.format() == Format::Imapd;
    if is_relevant && adds_domain && inputs.examined.config.users.mapping.realm.is_none() {
        let realm = conf.written_name("sso_realm");
        let effect = match inputs.examined.config.users.host_names {
            HostNamePolicy::Same => "such logins are refused",
            _ => "the client chooses whose mailbox it opens",
        };
        let what = format!(
            "has imapd add, to a name without a domain, the domain of the address that the client \
             connected to: {effect}"
        );
        let remedy = format!("set {realm} to the domain of these users, or virtdomains to userid");
        let option = host_option_name(context, "virtdomains");
        context.add(Severity::Warning, &option, what, remedy);
    }
}

/// The name by which this service reads an option of the host application.
fn host_option_name(context: &CheckContext<'_>, name: &str) -> String {
    let of_service = context.service.map(|service| format!("{service}_{name}"));
    match of_service {
        Some(option) if context.conf.location(&option).is_some() => option,
        _ => name.to_owned(),
    }
}
