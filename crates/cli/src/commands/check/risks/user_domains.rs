//! Users of several domains who could come out as one.

#![forbid(unsafe_code)]

use super::Context;
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::Format;
use sso_core::config::is_on;
use sso_core::policy::host_names::HostNamePolicy;

/// `alice@a.example` and `alice@b.example` become one user if both domains are
/// stripped, or if one is stripped and names without a domain belong to the other.
pub(crate) fn several_domains_become_one(subject: &mut Subject<'_>, context: &Context<'_>) {
    let mapping = &context.examined.config.users.mapping;
    if !context.is_sound("sso_strip_domain") || !context.is_sound("sso_realm") {
        return;
    }
    let mut stripped = mapping.strip_domains.clone();
    stripped.sort();
    stripped.dedup();
    let Some((option, home)) = domain_of_plain_names(subject, mapping.realm.as_deref()) else {
        if stripped.len() > 1 {
            let what = format!(
                "a user of the same name in {} opens one and the same mailbox; strip one domain, \
                 and leave the others in the names",
                stripped.join(" and in ")
            );
            subject.say_of_sasl(Severity::Warning, "sso_strip_domain", &what);
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
        subject.say_of_sasl(Severity::Warning, "sso_strip_domain", &what);
    }
}

/// The domain to which a name without one belongs, and the option that says so.
fn domain_of_plain_names(subject: &Subject<'_>, realm: Option<&str>) -> Option<(String, String)> {
    let conf = subject.conf;
    if let Some(realm) = realm {
        return Some((conf.written("sso_realm"), realm.to_owned()));
    }
    if conf.format() == Format::Sasl {
        return None;
    }
    let default = conf.of_host("defaultdomain");
    let has_domains = conf
        .of_host("virtdomains")
        .is_some_and(|value| is_on(value) != Some(false));
    let domain = match has_domains {
        true => default.unwrap_or("internal"),
        false => default?,
    };
    Some(("defaultdomain".to_owned(), domain.to_owned()))
}

/// With `virtdomains: on`, imapd adds the domain of the address that the client has
/// connected to.
pub(crate) fn domain_of_the_address(subject: &mut Subject<'_>, context: &Context<'_>) {
    let conf = subject.conf;
    let adds_domain = conf.of_host("virtdomains").and_then(is_on) == Some(true);
    let is_ours = !context.mechanisms.is_empty() && conf.format() == Format::Imapd;
    if is_ours && adds_domain && context.examined.config.users.mapping.realm.is_none() {
        let realm = conf.written("sso_realm");
        let effect = match context.examined.config.users.host_names {
            HostNamePolicy::Same => "such logins are refused",
            _ => "the client chooses whose mailbox it opens",
        };
        let what = format!(
            "has imapd add, to a name without a domain, the domain of the address that the client \
             connected to: {effect}"
        );
        let remedy = format!("set {realm} to the domain of these users, or virtdomains to userid");
        let option = written_for_host(subject, "virtdomains");
        subject.say(Severity::Warning, &option, what, remedy);
    }
}

/// The name by which this service reads an option of the host's own.
fn written_for_host(subject: &Subject<'_>, name: &str) -> String {
    let of_service = subject.service.map(|service| format!("{service}_{name}"));
    match of_service {
        Some(option) if subject.conf.spot(&option).is_some() => option,
        _ => name.to_owned(),
    }
}
