//! The policy for CAS tickets.

#![forbid(unsafe_code)]

use url::Url;

use super::Context;
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use sso_core::config::{CasConfig, Options, is_on};

/// The last segments of a CAS server's addresses that follow its base URL (CAS
/// protocol 3.0, section 2).
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

/// Without proxies and without direct tickets every ticket is refused.
pub(crate) fn nobody_may_present_users(subject: &mut Subject<'_>, context: &Context<'_>) {
    let is_sound = context.is_sound("caspt_proxies") && context.is_sound("caspt_allow_direct");
    if context.examined.config.cas.is_none() || !is_sound {
        return;
    }
    if proxies(subject).is_empty() && !allows_direct(subject) {
        let direct = subject.conf.written("caspt_allow_direct");
        let what = format!(
            "is not set, and neither is {direct}: every ticket is refused; name the callback \
             addresses of your webmails"
        );
        subject.say_of_sasl(Severity::Fault, "caspt_proxies", &what);
    }
}

/// Every application that CAS knows can then collect tickets for the mail server.
pub(crate) fn direct_tickets_without_a_rule(subject: &mut Subject<'_>, context: &Context<'_>) {
    let Some(cas) = &context.examined.config.cas else {
        return;
    };
    if allows_direct(subject) && cas.require.conditions().is_empty() {
        let require = subject.conf.written("caspt_require");
        let what = format!(
            "lets in every user of CAS, through whatever application got the ticket; take it out, \
             or say by {require} who may use mail"
        );
        subject.say_of_sasl(Severity::Warning, "caspt_allow_direct", &what);
    }
}

/// CAS sends the ticket-granting ticket of the user to the callback address.
pub(crate) fn proxies_without_tls(subject: &mut Subject<'_>, context: &Context<'_>) {
    if context.examined.config.cas.is_none() || !context.is_sound("caspt_proxies") {
        return;
    }
    for proxy in proxies(subject) {
        if proxy
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"))
        {
            let what = format!(
                "{proxy} is without TLS: whoever can answer at this address on the network can \
                 present every user; write https, and have the webmail use it"
            );
            subject.say_of_sasl(Severity::Warning, "caspt_proxies", &what);
        }
    }
}

/// On an unprivileged port any local user can answer while the server is down.
pub(crate) fn server_without_tls(subject: &mut Subject<'_>, context: &Context<'_>) {
    let urls = |cas: &CasConfig| cas.urls.clone();
    for url in context.examined.config.cas.iter().flat_map(urls) {
        if let Some(what) = can_be_impersonated(&url) {
            subject.say_of_sasl(Severity::Warning, "caspt_url", &what);
        }
    }
}

/// What there is to say of a server that is asked without TLS: it is on this host.
pub(crate) fn can_be_impersonated(url: &Url) -> Option<String> {
    let port = url.port_or_known_default()?;
    (url.scheme() == "http" && port >= 1_024).then(|| {
        format!(
            "{url}: any user of this host can take port {port} while it is free, and then say who \
             logs in; use https, or a port below 1024"
        )
    })
}

/// What stands before /login is the base URL.
pub(crate) fn address_of_an_endpoint(subject: &mut Subject<'_>, context: &Context<'_>) {
    let urls = |cas: &CasConfig| cas.urls.clone();
    for url in context.examined.config.cas.iter().flat_map(urls) {
        let last = url.path().rsplit('/').next().unwrap_or_default();
        if ENDPOINTS.contains(&&*last.to_ascii_lowercase()) {
            let what = format!(
                "{url} looks like the address of an endpoint, and the plugin adds its own to it; \
                 name what stands before /{last}"
            );
            subject.say_of_sasl(Severity::Warning, "caspt_url", &what);
        }
    }
}

fn proxies(subject: &Subject<'_>) -> Vec<String> {
    let proxies = subject.conf.get("caspt_proxies").unwrap_or_default();
    proxies.split_whitespace().map(str::to_owned).collect()
}

fn allows_direct(subject: &Subject<'_>) -> bool {
    let value = subject.conf.get("caspt_allow_direct");
    value.is_some_and(|value| is_on(value.trim()) == Some(true))
}
