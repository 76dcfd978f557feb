//! The policy for CAS tickets.

#![forbid(unsafe_code)]

use url::Url;

use super::RiskInputs;
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use sso_core::config::{CasConfig, Options, is_on};

/// The last path segments of CAS endpoints, after the base URL (CAS Protocol 3.0, section 2).
const ENDPOINTS: &[&str] = &[
    "login",
    "logout",
    "proxy",
    "proxyvalidate",
    "samlvalidate",
    "servicevalidate",
    "validate",
    "p3",
];

/// Without proxies and direct tickets, all tickets are refused.
pub(crate) fn neither_proxies_nor_direct_tickets(
    context: &mut CheckContext<'_>,
    inputs: &RiskInputs<'_>,
) {
    let is_sound = inputs.is_sound("caspt_proxies") && inputs.is_sound("caspt_allow_direct");
    if inputs.examined.config.cas.is_none() || !is_sound {
        return;
    }
    if proxies(context).is_empty() && !allows_direct(context) {
        let direct = context.conf.written_name("caspt_allow_direct");
        let what = format!(
            "is not set, and neither is {direct}: every ticket is refused; name the callback \
             addresses of your webmails"
        );
        context.add_for_sasl(Severity::Fault, "caspt_proxies", &what);
    }
}

/// Otherwise every application that CAS knows can collect tickets for the mail server.
pub(crate) fn direct_tickets_without_a_rule(
    context: &mut CheckContext<'_>,
    inputs: &RiskInputs<'_>,
) {
    let Some(cas) = &inputs.examined.config.cas else {
        return;
    };
    if allows_direct(context) && cas.require.conditions().is_empty() {
        let require = context.conf.written_name("caspt_require");
        let what = format!(
            "lets in every user of CAS, through whatever application got the ticket; take it out, \
             or say by {require} who may use mail"
        );
        context.add_for_sasl(Severity::Warning, "caspt_allow_direct", &what);
    }
}

/// CAS sends proxy-granting tickets to the callback URL.
pub(crate) fn proxies_without_tls(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    if inputs.examined.config.cas.is_none() || !inputs.is_sound("caspt_proxies") {
        return;
    }
    for proxy in proxies(context) {
        if proxy
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
        {
            let what = format!(
                "{proxy} is without TLS: whoever can answer at this address on the network can \
                 present every user; write https, and have the webmail use it"
            );
            context.add_for_sasl(Severity::Warning, "caspt_proxies", &what);
        }
    }
}

/// Any local user can listen on an unprivileged port while the server is down.
pub(crate) fn server_without_tls(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let urls = |cas: &CasConfig| cas.urls.clone();
    for url in inputs.examined.config.cas.iter().flat_map(urls) {
        if let Some(what) = can_be_impersonated(&url) {
            context.add_for_sasl(Severity::Warning, "caspt_url", &what);
        }
    }
}

/// The problem of a server that is queried without TLS, which the plugin allows on this host only.
pub(crate) fn can_be_impersonated(url: &Url) -> Option<String> {
    let port = url.port_or_known_default()?;
    (url.scheme() == "http" && port >= 1_024).then(|| {
        format!(
            "{url}: any user of this host can take port {port} while it is free, and then say who \
             logs in; use https, or a port below 1024"
        )
    })
}

/// The base URL ends before /login.
pub(crate) fn address_of_an_endpoint(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let urls = |cas: &CasConfig| cas.urls.clone();
    for url in inputs.examined.config.cas.iter().flat_map(urls) {
        let last = url.path().rsplit('/').next().unwrap_or_default();
        if ENDPOINTS.contains(&&*last.to_ascii_lowercase()) {
            let what = format!(
                "{url} looks like the address of an endpoint, and the plugin adds its own to it; \
                 name what stands before /{last}"
            );
            context.add_for_sasl(Severity::Warning, "caspt_url", &what);
        }
    }
}

fn proxies(context: &CheckContext<'_>) -> Vec<String> {
    let proxies = context.conf.get("caspt_proxies").unwrap_or_default();
    proxies.split_whitespace().map(str::to_owned).collect()
}

fn allows_direct(context: &CheckContext<'_>) -> bool {
    let value = context.conf.get("caspt_allow_direct");
    value.is_some_and(|value| is_on(value.trim()) == Some(true))
}
