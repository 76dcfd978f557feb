//! `--online`: sends the plugin's requests to the servers. It uses up no ticket and caches nothing.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::certificate::Certificate;
use super::context::CheckContext;
use super::diagnostic::Severity;
use super::risks::roca;
use sso_core::cas::{CasValidator, ProbeAnswer, ProbeReply};
use sso_core::config::{CasConfig, Config, IssuerConfig, KeysAt};
use sso_core::error::{Failure, Reason};
use sso_core::jwt;
use sso_core::jwt::{KeyReport, SetReport};
use sso_core::platform::deadline::Deadline;

/// Queries all servers of a configuration. `services` are SASL service names.
pub(crate) fn check(
    context: &mut CheckContext<'_>,
    config: &Config,
    services: &[&str],
    host: &str,
) {
    if let Some(cas) = &config.cas {
        let mut names: Vec<String> = Vec::new();
        for service in services {
            let name = cas.service.name(service, host);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            probe_cas(context, cas, &name);
        }
    }
    for issuer in config.jwt.iter().flat_map(|jwt| &jwt.issuers) {
        if !matches!(issuer.keys, KeysAt::Path(_)) {
            probe_issuer(context, issuer);
        }
    }
}

/// Whether the same request was made for another service.
fn is_already_probed(context: &CheckContext<'_>, key: &Value) -> bool {
    let same = |one: &Value| {
        let has = |name: &str| one.get(name) == key.get(name);
        ["kind", "url", "service", "ca_file"].into_iter().all(has)
    };
    context.report.online.iter().any(|(_, one)| same(one))
}

fn probe_cas(context: &mut CheckContext<'_>, config: &CasConfig, service: &str) {
    let cas = CasValidator::new(config.clone());
    let mut failures = Vec::new();
    for url in &config.urls {
        let mut record = json!({
            "kind": "cas", "url": url.as_str(), "service": service, "ca_file": config.ca_file,
            "path": null, "certificate": null,
        });
        if is_already_probed(context, &record) {
            continue;
        }
        let answer = cas.probe(url, service, &Deadline::new(config.timeout, &|| false));
        let line = match &answer {
            Ok(answer) => {
                let certificate = certificate(answer.certificate.as_deref());
                record["path"] = json!(answer.path);
                record["certificate"] = certificate_json(certificate.as_ref());
                check_reply(context, url.as_str(), service, answer);
                check_expiry(context, "caspt_url", url.as_str(), certificate.as_ref());
                let (path, end) = (answer.path, describe_certificate(certificate.as_ref()));
                format!(
                    "{url} answers at {path} for {service}: {}{end}",
                    reply_text(&answer.reply)
                )
            }
            Err(failure) => {
                failures.push(failure.clone());
                record["reason"] = json!(failure.reason().code());
                format!("{url}: no answer for {service}: {}", failure.detail())
            }
        };
        record["answer"] = json!(answer.map_or_else(
            |failure| failure.detail().to_owned(),
            |a| reply_text(&a.reply)
        ));
        context.report.online.push((line, record));
    }
    let severity = match failures.len() == config.urls.len() {
        true => Severity::Fault,
        false => Severity::Warning,
    };
    for failure in failures {
        let what = format!(
            "{}; {}",
            failure.detail(),
            remedy(&failure, &context.conf.written_name("caspt_ca_file"))
        );
        context.add_for_sasl(severity, "caspt_url", &what);
    }
}

/// The answer of CAS in one or two words.
fn reply_text(reply: &ProbeReply) -> String {
    match reply {
        ProbeReply::Refused { code, .. } => code.clone(),
        ProbeReply::Accepted => "accepted".to_owned(),
        ProbeReply::Unusable(what) => what.clone(),
    }
}

fn check_reply(context: &mut CheckContext<'_>, url: &str, service: &str, answer: &ProbeAnswer) {
    let (severity, option, what) = match &answer.reply {
        ProbeReply::Refused { code, .. } if code == "INVALID_TICKET" => return,
        ProbeReply::Refused { code, text }
            if code.contains("SERVICE") || code == "INVALID_PROXY_CALLBACK" =>
        {
            let what = format!(
                "{url} does not take the service {service}: {code}, {text}; register it in CAS, \
                 or say by caspt_service which one it knows"
            );
            // cyrus.conf usually has services that no client sends a ticket to.
            let is_one_of_many = context.service.is_some() && !service.starts_with("imap");
            let severity = match is_one_of_many {
                true => Severity::Warning,
                false => Severity::Fault,
            };
            (severity, "caspt_service", what)
        }
        ProbeReply::Refused { code, text } => {
            let what = format!(
                "{url} answers {code} to a ticket that cannot exist: {text}; ask who runs it"
            );
            (Severity::Warning, "caspt_url", what)
        }
        ProbeReply::Accepted => {
            let what = format!("{url} takes a ticket that nobody issued; it is no CAS server");
            (Severity::Fault, "caspt_url", what)
        }
        ProbeReply::Unusable(what) => {
            let what = format!(
                "{url} does not answer as a CAS server: {what}; name what stands before /login in \
                 its addresses"
            );
            (Severity::Fault, "caspt_url", what)
        }
    };
    context.add_for_sasl(severity, option, &what);
}

fn probe_issuer(context: &mut CheckContext<'_>, issuer: &IssuerConfig) {
    let url = match &issuer.keys {
        KeysAt::Discovery { document, .. } => document,
        KeysAt::Url(url) => url,
        KeysAt::Path(_) => return,
    };
    let mut record = json!({
        "kind": "issuer", "url": url.as_str(), "service": null, "ca_file": issuer.ca_file,
        "certificate": null, "keys": [],
    });
    if is_already_probed(context, &record) {
        return;
    }
    let option = issuer.option("keys");
    match jwt::inspect_published(issuer, &Deadline::new(issuer.timeout, &|| false)) {
        Err(failure) => {
            let what = failure.detail();
            record["reason"] = json!(failure.reason().code());
            record["answer"] = json!(what);
            context
                .report
                .online
                .push((format!("{url}: no keys: {what}"), record));
            let remedy = remedy(
                &failure,
                &context.conf.written_name(&issuer.option("ca_file")),
            );
            context.add_for_sasl(Severity::Fault, &option, &format!("{what}; {remedy}"));
        }
        Ok(set) => {
            let certificate = certificate(set.certificate.as_deref());
            record["certificate"] = certificate_json(certificate.as_ref());
            record["keys"] = set.keys.iter().map(key_json).collect();
            let usable = set.keys.iter().filter(|key| key.usable.is_ok()).count();
            record["answer"] = json!(format!("{usable} usable keys of {}", set.keys.len()));
            let end = describe_certificate(certificate.as_ref());
            let line = format!(
                "{url}: {usable} of {} keys can be used{end}",
                set.keys.len()
            );
            context.report.online.push((line, record));
            for key in &set.keys {
                let line = format!("{url}: key {}", key_line(key));
                context.report.online.push((line, Value::Null));
            }
            check_expiry(context, &option, url.as_str(), certificate.as_ref());
            check_keys(context, issuer, &option, url.as_str(), &set);
        }
    }
}

fn check_keys(
    context: &mut CheckContext<'_>,
    issuer: &IssuerConfig,
    option: &str,
    url: &str,
    set: &SetReport,
) {
    let usable: Vec<_> = set
        .keys
        .iter()
        .filter_map(|key| key.usable.as_ref().ok())
        .collect();
    if usable.is_empty() {
        let what = format!(
            "{url} has no key that could be used; ask the issuer for one of RSA, EC or Ed25519"
        );
        context.add_for_sasl(Severity::Fault, option, &what);
    } else if let Some(allowed) = &issuer.algorithms
        && !usable
            .iter()
            .any(|key| key.iter().any(|one| allowed.contains(one)))
    {
        let option = issuer.option("algorithms");
        let what = format!("{url} has no key for any of them; name those that its keys are for");
        context.add_for_sasl(Severity::Fault, &option, &what);
    }
    for key in &set.keys {
        let name = key.kid.as_deref().unwrap_or("without a kid");
        if key.modulus.as_deref().is_some_and(roca::has_fingerprint) {
            let what = format!("{url}: the key {name}: {}", roca::PROBLEM);
            context.add_for_sasl(Severity::Warning, option, &what);
        }
        if let Err(problem) = &key.usable
            && !problem.starts_with("is for something else")
        {
            let what = format!(
                "{url}: the key {name} ({}) {problem}; tell the issuer",
                key.kind
            );
            context.add_for_sasl(Severity::Warning, option, &what);
        }
    }
}

fn key_line(key: &KeyReport) -> String {
    let name = key.kid.as_deref().unwrap_or("without a kid");
    let kind = &key.kind;
    match &key.usable {
        Ok(algorithms) => {
            let names: Vec<&str> = algorithms.iter().map(|one| one.name()).collect();
            format!("{name}: {kind}, for {}", names.join(" "))
        }
        Err(problem) => format!("{name}: {kind}, not used: {problem}"),
    }
}

fn key_json(key: &KeyReport) -> Value {
    let names = key.usable.as_ref().map(|algorithms| {
        let names = algorithms.iter().map(|one| one.name());
        names.collect::<Vec<_>>()
    });
    json!({
        "kid": key.kid,
        "kind": key.kind,
        "algorithms": names.clone().unwrap_or_default(),
        "problem": names.err(),
    })
}

fn certificate(der: Option<&[u8]>) -> Option<Certificate> {
    der.and_then(Certificate::from_der)
}

fn certificate_json(certificate: Option<&Certificate>) -> Value {
    certificate.map_or(
        Value::Null,
        |one| json!({"subject": one.subject, "issuer": one.issuer, "days": one.days}),
    )
}

fn describe_certificate(certificate: Option<&Certificate>) -> String {
    certificate.map_or_else(String::new, |one| {
        format!(
            "; its certificate, by {}, is good for {} days",
            one.issuer, one.days
        )
    })
}

fn check_expiry(
    context: &mut CheckContext<'_>,
    option: &str,
    url: &str,
    certificate: Option<&Certificate>,
) {
    if let Some(end) = certificate.and_then(Certificate::expiry) {
        let what = format!("the certificate of {url} {end}; have it renewed");
        context.add_for_sasl(Severity::Warning, option, &what);
    }
}

fn remedy(failure: &Failure, ca_file: &str) -> String {
    match failure.reason() {
        Reason::ServerUntrusted => {
            format!(
                "mend its certificate, or have the CA that signed it trusted: by the system, or by \
                 the file of {ca_file}, which counts alone"
            )
        }
        Reason::TrustUnusable => format!("mend {ca_file}"),
        Reason::ServerUnreachable => "look to the address, the network and the server".to_owned(),
        Reason::ServerTimeout => "look whether it is up, and what is in between".to_owned(),
        Reason::ReplyUnusable => {
            "look to the address, and to what the server says of itself".to_owned()
        }
        _ => "look to the log of the server".to_owned(),
    }
}
