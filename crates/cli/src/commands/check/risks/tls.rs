//! TLS that is configured and that clients cannot get.

#![forbid(unsafe_code)]

use super::{Context, Version};
use crate::commands::check::Examined;
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use crate::commands::check::host_options;
use crate::imapd_conf::Format;
use sso_core::config::is_on;

/// What SASL calls the services whose clients ask for TLS by STARTTLS or STLS.
const WITH_STARTTLS: &[&str] = &["imap", "pop", "sieve", "nntp"];

/// Without TLS the mechanisms are offered to nobody. Where another service of the
/// protocol begins with TLS, clients use that one.
pub(crate) fn no_starttls(subject: &mut Subject<'_>, context: &Context<'_>) {
    let examined = context.examined;
    let is_peer = |other: &&Examined| {
        other.target.file == examined.target.file
            && (other.target.service.is_some() || context.cyrus.is_none())
    };
    let peers = || context.all.iter().filter(is_peer);
    let has_implicit_tls =
        peers().any(|other| other.of_sasl == examined.of_sasl && other.target.is_tls);
    let is_for_nobody = subject.service.is_none() && context.cyrus.is_some();
    let version = context
        .version
        .filter(|_| starttls_is_off(examined, context));
    let (Some(version), false, false) = (version, has_implicit_tls, is_for_nobody) else {
        return;
    };
    let service = subject.service.unwrap_or("imap");
    let what = format!(
        "Cyrus {version} does not offer STARTTLS by itself, and without TLS nobody is offered {}",
        context.mechanisms.join(", ")
    );
    let remedy = format!(
        "set {service}_allowstarttls: yes, or add a service with TLS from the start (-s) to \
         cyrus.conf"
    );
    let works = |other: &Examined| {
        WITH_STARTTLS.contains(&other.of_sasl) && !starttls_is_off(other, context)
    };
    // Of a file alone it is not known which services there are, and not all of those
    // that there are need be for this.
    let is_fault = context.cyrus.is_some() && (examined.of_sasl == "imap" || !peers().any(works));
    let severity = match is_fault {
        true => Severity::Fault,
        false => Severity::Warning,
    };
    subject.say(severity, "allowstarttls", what, remedy);
}

/// Whether the clients of a service can get TLS neither by STARTTLS nor from the
/// start, although there is a certificate.
pub(crate) fn starttls_is_off(examined: &Examined, context: &Context<'_>) -> bool {
    let conf = &examined.conf;
    let is_on = |name: &str| conf.of_host(name).and_then(is_on) == Some(true);
    let version = context.version;
    conf.format() == Format::Imapd
        && conf.is_complete()
        && !context.mechanisms.is_empty()
        && WITH_STARTTLS.contains(&examined.of_sasl)
        && !examined.target.is_tls
        && !host_options::lacks_certificate(conf)
        && !is_on("allowplaintext")
        && !is_on("allowstarttls")
        && version.is_some_and(Version::has_no_starttls_by_default)
}
