//! `--online`: what the servers answer to what the plugin will ask them. Nothing
//! real is used up, and nothing is kept.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use super::certificate::Certificate;
use super::context::Subject;
use super::diagnostic::Severity;
use super::risks::roca;
use sso_core::cas::{CasValidator, ProbeAnswer, ProbeReply};
use sso_core::config::{CasConfig, Config, IssuerConfig, KeysAt};
use sso_core::error::{Failure, Reason};
use sso_core::jwt;
use sso_core::jwt::{KeyReport, SetReport};
use sso_core::platform::deadline::Deadline;

/// Asks all servers of a configuration, for the services of these names.
pub(crate) fn check(subject: &mut Subject<'_>, config: &Config, services: &[&str], host: &str) {
    if let Some(cas) = &config.cas {
        let mut names: Vec<String> = Vec::new();
        for service in services {
            let name = cas.service.name(service, host);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            ask_cas(subject, cas, &name);
        }
    }
    for issuer in config.jwt.iter().flat_map(|jwt| &jwt.issuers) {
        if !matches!(issuer.keys, KeysAt::Path(_)) {
            ask_issuer(subject, issuer);
        }
    }
}

/// Whether this was asked for another service already, with the same answer.
fn is_known(subject: &Subject<'_>, key: &Value) -> bool {
    let same = |one: &Value| {
        let has = |name: &str| one.get(name) == key.get(name);
        ["kind", "url", "service", "ca_file"].into_iter().all(has)
    };
    subject.report.online.iter().any(|(_, one)| same(one))
}

fn ask_cas(subject: &mut Subject<'_>, config: &CasConfig, service: &str) {
    let cas = CasValidator::new(config.clone());
    let mut failures = Vec::new();
    for url in &config.urls {
        let mut told = json!({
            "kind": "cas", "url": url.as_str(), "service": service, "ca_file": config.ca_file,
            "path": null, "certificate": null,
        });
        if is_known(subject, &told) {
            continue;
        }
        let answer = cas.probe(url, service, &Deadline::new(config.timeout, &|| false));
        let line = match &answer {
            Ok(answer) => {
                let certificate = certificate(answer.certificate.as_deref());
                told["path"] = json!(answer.path);
                told["certificate"] = json_of(certificate.as_ref());
                judge(subject, url.as_str(), service, answer);
                ends(subject, "caspt_url", url.as_str(), certificate.as_ref());
                let (path, end) = (answer.path, shown(certificate.as_ref()));
                format!(
                    "{url} answers at {path} for {service}: {}{end}",
                    word(&answer.reply)
                )
            }
            Err(failure) => {
                failures.push(failure.clone());
                told["reason"] = json!(failure.reason().code());
                format!("{url}: no answer for {service}: {}", failure.detail())
            }
        };
        told["answer"] =
            json!(answer.map_or_else(|failure| failure.detail().to_owned(), |a| word(&a.reply)));
        subject.report.online.push((line, told));
    }
    let severity = match failures.len() == config.urls.len() {
        true => Severity::Fault,
        false => Severity::Warning,
    };
    for failure in failures {
        let what = format!(
            "{}; {}",
            failure.detail(),
            remedy(&failure, &subject.conf.written("caspt_ca_file"))
        );
        subject.say_of_sasl(severity, "caspt_url", &what);
    }
}

/// What a server said, in a word or two.
fn word(said: &ProbeReply) -> String {
    match said {
        ProbeReply::Refused { code, .. } => code.clone(),
        ProbeReply::Accepted => "accepted".to_owned(),
        ProbeReply::Unusable(what) => what.clone(),
    }
}

fn judge(subject: &mut Subject<'_>, url: &str, service: &str, answer: &ProbeAnswer) {
    let (severity, option, what) = match &answer.reply {
        ProbeReply::Refused { code, .. } if code == "INVALID_TICKET" => return,
        ProbeReply::Refused { code, text }
            if code.contains("SERVICE") || code == "INVALID_PROXY_CALLBACK" =>
        {
            let what = format!(
                "{url} does not take the service {service}: {code}, {text}; register it in CAS, \
                 or say by caspt_service which one it knows"
            );
            // Most sites have services in cyrus.conf to which nobody brings a ticket.
            let is_one_of_many = subject.service.is_some() && !service.starts_with("imap");
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
    subject.say_of_sasl(severity, option, &what);
}

fn ask_issuer(subject: &mut Subject<'_>, issuer: &IssuerConfig) {
    let url = match &issuer.keys {
        KeysAt::Discovery { document, .. } => document,
        KeysAt::Url(url) => url,
        KeysAt::Path(_) => return,
    };
    let mut told = json!({
        "kind": "issuer", "url": url.as_str(), "service": null, "ca_file": issuer.ca_file,
        "certificate": null, "keys": [],
    });
    if is_known(subject, &told) {
        return;
    }
    let option = issuer.option("keys");
    match jwt::inspect_published(issuer, &Deadline::new(issuer.timeout, &|| false)) {
        Err(failure) => {
            let what = failure.detail();
            told["reason"] = json!(failure.reason().code());
            told["answer"] = json!(what);
            subject
                .report
                .online
                .push((format!("{url}: no keys: {what}"), told));
            let remedy = remedy(&failure, &subject.conf.written(&issuer.option("ca_file")));
            subject.say_of_sasl(Severity::Fault, &option, &format!("{what}; {remedy}"));
        }
        Ok(set) => {
            let certificate = certificate(set.certificate.as_deref());
            told["certificate"] = json_of(certificate.as_ref());
            told["keys"] = set.keys.iter().map(key_json).collect();
            let usable = set.keys.iter().filter(|key| key.usable.is_ok()).count();
            told["answer"] = json!(format!("{usable} usable keys of {}", set.keys.len()));
            let end = shown(certificate.as_ref());
            let line = format!(
                "{url}: {usable} of {} keys can be used{end}",
                set.keys.len()
            );
            subject.report.online.push((line, told));
            for key in &set.keys {
                let line = format!("{url}: key {}", key_line(key));
                subject.report.online.push((line, Value::Null));
            }
            ends(subject, &option, url.as_str(), certificate.as_ref());
            judge_keys(subject, issuer, &option, url.as_str(), &set);
        }
    }
}

fn judge_keys(
    subject: &mut Subject<'_>,
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
        subject.say_of_sasl(Severity::Fault, option, &what);
    } else if let Some(allowed) = &issuer.algorithms
        && !usable
            .iter()
            .any(|key| key.iter().any(|one| allowed.contains(one)))
    {
        let option = issuer.option("algorithms");
        let what = format!("{url} has no key for any of them; name those that its keys are for");
        subject.say_of_sasl(Severity::Fault, &option, &what);
    }
    for key in &set.keys {
        let name = key.kid.as_deref().unwrap_or("without a kid");
        if key.modulus.as_deref().is_some_and(roca::has_fingerprint) {
            let what = format!("{url}: the key {name}: {}", roca::WHAT);
            subject.say_of_sasl(Severity::Warning, option, &what);
        }
        if let Err(problem) = &key.usable
            && !problem.starts_with("is for something else")
        {
            let what = format!(
                "{url}: the key {name} ({}) {problem}; tell the issuer",
                key.kind
            );
            subject.say_of_sasl(Severity::Warning, option, &what);
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
    der.and_then(Certificate::of)
}

fn json_of(certificate: Option<&Certificate>) -> Value {
    certificate.map_or(
        Value::Null,
        |one| json!({"subject": one.subject, "issuer": one.issuer, "days": one.days}),
    )
}

fn shown(certificate: Option<&Certificate>) -> String {
    certificate.map_or_else(String::new, |one| {
        format!(
            "; its certificate, by {}, is good for {} days",
            one.issuer, one.days
        )
    })
}

fn ends(subject: &mut Subject<'_>, option: &str, url: &str, certificate: Option<&Certificate>) {
    if let Some(end) = certificate.and_then(Certificate::end) {
        let what = format!("the certificate of {url} {end}; have it renewed");
        subject.say_of_sasl(Severity::Warning, option, &what);
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
