//! Mechanisms that are configured and yet not offered, because of `mech_list`.

#![forbid(unsafe_code)]

use super::Context;
use crate::commands::check::Examined;
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::login_paths;
use sso_core::config::Options;
use sso_core::credential::CredentialKind;

/// What SASL calls the services whose clients use these mechanisms. HTTP has
/// schemes of its own, and nobody brings a ticket to the others.
const USERS: &[&str] = &["imap", "pop", "sieve", "smtp", "nntp"];

/// A mechanism that is configured and that no service offers is a fault; one that
/// some services do not offer is a warning.
pub(crate) fn mechanism_is_not_listed(subject: &mut Subject<'_>, context: &Context<'_>) {
    let examined = context.examined;
    let is_for_nobody = subject.service.is_none() && context.cyrus.is_some();
    if subject.conf.get("mech_list").is_none() || !uses(examined) || is_for_nobody {
        return;
    }
    // Of these groups one mechanism is enough.
    for (names, kind) in [
        (&["CASPT"][..], Some(CredentialKind::Ticket)),
        (&["OAUTHBEARER", "XOAUTH2"], Some(CredentialKind::Token)),
        (&["PLAIN"], None),
    ] {
        let is_configured = |name: &&&str| context.mechanisms.contains(*name);
        let names: Vec<&str> = names.iter().filter(is_configured).copied().collect();
        let is_listed = |name: &&&str| login_paths::is_listed(subject.conf, name);
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
                !login_paths::of_kind(subject.conf, &examined.config, kind).is_empty()
            });
        let severity = match comes_otherwise {
            true => Severity::Note,
            false => severity(context, &missing),
        };
        let all = missing.join(" and ");
        let what = match missing.len() {
            1 => format!("lacks {all}, which is configured but not offered; add {all}"),
            _ => format!("lacks {all}, which are configured but not offered; add one of them"),
        };
        subject.say_of_sasl(severity, "mech_list", &what);
    }
}

/// How bad it is that a service does not offer what is configured.
fn severity(context: &Context<'_>, names: &[&str]) -> Severity {
    let examined = context.examined;
    let offers = |other: &&Examined| {
        other.target.file == examined.target.file
            && (other.target.service.is_some() || context.cyrus.is_none())
            && uses(other)
            && names.iter().any(|name| {
                login_paths::configured(&other.config).contains(name)
                    && login_paths::is_listed(&other.conf, name)
            })
    };
    let service = examined.target.service.as_deref().unwrap_or_default();
    let own = format!("{service}_{}mech_list", examined.conf.format().prefix());
    match (
        context.all.iter().any(|other| offers(&other)),
        examined.conf.spot(&own).is_some(),
    ) {
        (false, _) => Severity::Fault,
        // It was decided for this service.
        (true, true) => Severity::Note,
        (true, false) => Severity::Warning,
    }
}

fn uses(examined: &Examined) -> bool {
    USERS.contains(&examined.of_sasl)
}

/// libsasl2 splits the list at white space alone: a comma is part of a name.
pub(crate) fn commas(subject: &mut Subject<'_>, context: &Context<'_>) {
    let list = subject.conf.get("mech_list").unwrap_or_default();
    let mut words = list.split_whitespace();
    if let Some(word) = words.find(|word| word.contains(',')) {
        let severity = match context.mechanisms.is_empty() {
            true => Severity::Warning,
            false => Severity::Fault,
        };
        let what = format!(
            "has a comma, and \"{word}\" is the name of no mechanism; write blanks between the \
             names alone"
        );
        subject.say_of_sasl(severity, "mech_list", &what);
    }
}
