//! Options that have no effect, of one service: because nobody reads them, or not
//! as long as others are not set.

#![forbid(unsafe_code)]

use super::context::Subject;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::Severity;
use super::option_names;
use crate::imapd_conf::ConfFile;
use sso_core::config::Config;

/// Options that nobody reads. Those of a service are looked at for that service,
/// and those of none once.
pub(crate) fn check_names(subject: &mut Subject<'_>, cyrus: Option<&CyrusConf>) {
    let conf = subject.conf;
    for name in conf.names() {
        let (service, option) = match name.split_once("_sasl_") {
            // imapd has some of its own with that in them.
            Some((service, _)) if option_names::type_in_imapd(name).is_none() => {
                (Some(service), &name[service.len() + 1..])
            }
            _ => (None, name),
        };
        if service.is_some() && service == subject.service || service.is_none() {
            if let Some(unread) = option_names::unread(conf, option) {
                let severity = match unread.is_ours {
                    true => Severity::Fault,
                    false => Severity::Warning,
                };
                let remedy = match service {
                    Some(service) => {
                        let of_service = format!("{service}_sasl_");
                        unread.remedy.replace("sasl_", &of_service)
                    }
                    None => unread.remedy,
                };
                subject.say(severity, name, unread.problem, remedy);
            }
        } else if let (Some(service), Some(cyrus)) = (service, cyrus)
            && !cyrus.has(service)
        {
            let what = format!("is read by nobody: cyrus.conf has no service {service}");
            let remedy = match option_names::nearest_of(service, cyrus.names()) {
                Some(near) => format!("is {near} meant?"),
                None => "take it out, or name one that is there".to_owned(),
            };
            subject.say(Severity::Warning, name, what, remedy);
        }
    }
}

/// Options of a mechanism that is not configured: the plugin keeps silent about
/// them, for it is loaded by programs that have nothing to do with it.
pub(crate) fn without_effect(
    conf: &ConfFile,
    config: &Config,
    service: Option<&str>,
) -> Vec<(String, String)> {
    let sasl = conf.format().prefix();
    let mut problems = Vec::new();
    for (prefix, is_configured, missing) in [
        ("caspt_", config.cas.is_some(), &["caspt_url"][..]),
        ("jwt_", config.jwt.is_some(), &["jwt_keys", "jwt_issuers"]),
        (
            "sso_",
            config.cas.is_some() || config.jwt.is_some(),
            &["caspt_url", "jwt_keys", "jwt_issuers"],
        ),
    ] {
        // A service may have what all others lack.
        let of_some = |name: &str| {
            missing
                .iter()
                .any(|one| name.ends_with(&format!("_{sasl}{one}")))
        };
        if is_configured || conf.names().any(of_some) {
            continue;
        }
        let mut names = conf.sasl_names().filter(|name| name.starts_with(prefix));
        if let Some(option) = names.next().map(|name| conf.written(name))
            && service.is_none_or(|service| option.starts_with(service))
        {
            let needed: Vec<String> = missing.iter().map(|one| format!("{sasl}{one}")).collect();
            problems.push((
                option,
                format!("has no effect without {}", needed.join(" or ")),
            ));
        }
    }
    problems
}
