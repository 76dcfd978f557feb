//! Mechanisms that are configured but not offered, because `mech_list` does not name them.

#![forbid(unsafe_code)]

use super::RiskInputs;
use crate::commands::check::Examined;
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::login_paths;
use sso_core::config::Options;
use sso_core::credential::CredentialKind;

/// The SASL names of services whose clients use these mechanisms. HTTP has its own schemes; clients
/// of other services do not use tickets.
const SASL_SERVICES: &[&str] = &["imap", "pop", "sieve", "smtp", "nntp"];

/// A configured mechanism that no service offers is a fault; one that some services do not offer is
/// a warning.
pub(crate) fn mechanism_is_not_listed(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let examined = inputs.examined;
    let is_for_nobody = context.service.is_none() && inputs.cyrus.is_some();
    if context.conf.get("mech_list").is_none() || !uses_mechanisms(examined) || is_for_nobody {
        return;
    }
    // One mechanism of each group is enough.
    for (names, kind) in [
        (&["CASPT"][..], Some(CredentialKind::Ticket)),
        (&["OAUTHBEARER", "XOAUTH2"], Some(CredentialKind::Token)),
        (&["PLAIN"], None),
    ] {
        let is_configured = |name: &&&str| inputs.mechanisms.contains(*name);
        let names: Vec<&str> = names.iter().filter(is_configured).copied().collect();
        let is_listed = |name: &&&str| login_paths::is_listed(context.conf, name);
        let missing: Vec<&str> = names
            .iter()
            .filter(|name| !is_listed(name))
            .copied()
            .collect();
        if missing.is_empty() {
            continue;
        }
        let comes_otherwise = missing.len() < names.len()
            || kind.is_some_and(|kind| {
                !login_paths::for_kind(context.conf, &examined.config, kind).is_empty()
            });
        let severity = match comes_otherwise {
            true => Severity::Note,
            false => severity(inputs, &missing),
        };
        let all = missing.join(" and ");
        let what = match missing.len() {
            1 => format!("lacks {all}, which is configured but not offered; add {all}"),
            _ => format!("lacks {all}, which are configured but not offered; add one of them"),
        };
        context.add_for_sasl(severity, "mech_list", &what);
    }
}

/// The severity if a service does not offer what is configured.
fn severity(inputs: &RiskInputs<'_>, names: &[&str]) -> Severity {
    let examined = inputs.examined;
    let offers = |other: &&Examined| {
        other.target.file == examined.target.file
            && (other.target.service.is_some() || inputs.cyrus.is_none())
            && uses_mechanisms(other)
            && names.iter().any(|name| {
                login_paths::configured(&other.config).contains(name)
                    && login_paths::is_listed(&other.conf, name)
            })
    };
    let service = examined.target.service.as_deref().unwrap_or_default();
    let own = format!("{service}_{}mech_list", examined.conf.format().prefix());
    match (
        inputs.all.iter().any(|other| offers(&other)),
        examined.conf.location(&own).is_some(),
    ) {
        (false, _) => Severity::Fault,
        // The list was set for this service on purpose.
        (true, true) => Severity::Note,
        (true, false) => Severity::Warning,
    }
}

fn uses_mechanisms(examined: &Examined) -> bool {
    SASL_SERVICES.contains(&examined.sasl_service)
}

/// libsasl2 splits the list at white space only: a comma becomes part of a name.
pub(crate) fn commas(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let list = context.conf.get("mech_list").unwrap_or_default();
    let mut words = list.split_whitespace();
    if let Some(word) = words.find(|word| word.contains(',')) {
        let severity = match inputs.mechanisms.is_empty() {
            true => Severity::Warning,
            false => Severity::Fault,
        };
        let what = format!(
            "has a comma, and \"{word}\" is the name of no mechanism; write blanks between the \
             names alone"
        );
        context.add_for_sasl(severity, "mech_list", &what);
    }
}
