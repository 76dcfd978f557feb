//! TLS that is configured, but that clients cannot use.

#![forbid(unsafe_code)]

use super::{RiskInputs, Version};
use crate::commands::check::Examined;
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use crate::commands::check::host_options;
use crate::imapd_conf::Format;
use sso_core::config::is_on;

/// The SASL names of services whose clients start TLS with STARTTLS or STLS.
const WITH_STARTTLS: &[&str] = &["imap", "pop", "sieve", "nntp"];

/// Without TLS the mechanisms are not offered. If another service of the protocol uses implicit
/// TLS, clients use that one.
pub(crate) fn no_starttls(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let examined = inputs.examined;
    let is_peer = |other: &&Examined| {
        other.target.file == examined.target.file
            && (other.target.service.is_some() || inputs.cyrus.is_none())
    };
    let peers = || inputs.all.iter().filter(is_peer);
    let has_implicit_tls =
        peers().any(|other| other.sasl_service == examined.sasl_service && other.target.is_tls);
    let is_for_nobody = context.service.is_none() && inputs.cyrus.is_some();
    let version = inputs.version.filter(|_| starttls_is_off(examined, inputs));
    let (Some(version), false, false) = (version, has_implicit_tls, is_for_nobody) else {
        return;
    };
    let service = context.service.unwrap_or("imap");
    let what = format!(
        "Cyrus {version} does not offer STARTTLS by itself, and without TLS nobody is offered {}",
        inputs.mechanisms.join(", ")
    );
    let remedy = format!(
        "set {service}_allowstarttls: yes, or add a service with TLS from the start (-s) to \
         cyrus.conf"
    );
    let works = |other: &Examined| {
        WITH_STARTTLS.contains(&other.sasl_service) && !starttls_is_off(other, inputs)
    };
    // A single file does not show which services exist, and not all services need single sign-on.
    let is_fault =
        inputs.cyrus.is_some() && (examined.sasl_service == "imap" || !peers().any(works));
    let severity = match is_fault {
        true => Severity::Fault,
        false => Severity::Warning,
    };
    context.add(severity, "allowstarttls", what, remedy);
}

/// Whether the clients of a service can start TLS neither with STARTTLS nor with the connection,
/// although there is a certificate.
pub(crate) fn starttls_is_off(examined: &Examined, inputs: &RiskInputs<'_>) -> bool {
    let conf = &examined.conf;
    let is_on = |name: &str| conf.host_option(name).and_then(is_on) == Some(true);
    let version = inputs.version;
    conf.format() == Format::Imapd
        && conf.is_complete()
        && !inputs.mechanisms.is_empty()
        && WITH_STARTTLS.contains(&examined.sasl_service)
        && !examined.target.is_tls
        && !host_options::lacks_certificate(conf)
        && !is_on("allowplaintext")
        && !is_on("allowstarttls")
        && version.is_some_and(Version::has_no_starttls_by_default)
}
