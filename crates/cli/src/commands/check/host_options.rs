//! Options of the host's own that decide on whether it starts, and under which
//! conditions the mechanisms are offered.

#![forbid(unsafe_code)]

use super::context::Subject;
use super::diagnostic::Severity;
use super::option_names::{nearest_of, type_in_imapd};
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, Format};
use sso_core::config::{Config, Options, is_on};

/// What keeps imapd from starting, as far as it is known here: types of values,
/// and what must be there.
pub(crate) fn check_imapd(subject: &mut Subject<'_>) {
    if subject.conf.format() != Format::Imapd {
        return;
    }
    let names: Vec<String> = subject.conf.names().map(str::to_owned).collect();
    for name in names {
        let option = match (subject.service, name.split_once('_')) {
            (Some(service), Some((of, rest))) if of == service => rest,
            _ => &name,
        };
        let value = subject.conf.as_written(&name).unwrap_or_default();
        if let Some(remedy) = wrong_type(option, &value) {
            let problem = format!("\"{value}\" is nothing that imapd takes, and it does not start");
            subject.say(Severity::Fault, &name, problem, remedy);
        }
    }
    check_directories(subject);
}

/// What to write instead of a value that is not of its option's type.
fn wrong_type(option: &str, value: &str) -> Option<&'static str> {
    let is_right = match type_in_imapd(option)? {
        "switch" => ["0", "n", "of", "f", "1", "y", "on", "t"]
            .iter()
            .any(|begin| value.starts_with(begin)),
        "number" => is_number(value),
        "duration" => is_duration(value),
        _ if option == "virtdomains" => [
            "0", "no", "f", "false", "off", "1", "yes", "t", "true", "on", "userid",
        ]
        .contains(&value),
        _ => true,
    };
    (!is_right).then(|| match type_in_imapd(option) {
        Some("switch") => "write yes or no, in lower case",
        Some("number") => "write a whole number",
        Some("duration") => "write a number with d, h, m or s behind it",
        _ => "write off, userid or on",
    })
}

/// As strtol(3) reads it to the end, with base 0.
fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let lower = digits.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(hex) => !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None if lower.starts_with('0') => lower.bytes().all(|byte| (b'0'..b'8').contains(&byte)),
        None => !lower.is_empty() && lower.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn is_duration(value: &str) -> bool {
    let value = value.strip_prefix('-').unwrap_or(value);
    let mut has_digit = false;
    for byte in value.bytes() {
        match byte {
            b'0'..=b'9' => has_digit = true,
            b'd' | b'h' | b'm' | b's' if has_digit => has_digit = false,
            _ => return false,
        }
    }
    !value.is_empty()
}

fn check_directories(subject: &mut Subject<'_>) {
    let get = |name: &str| subject.conf.of_host(name).map(str::to_owned);
    let (directory, partition) = (get("configdirectory"), get("defaultpartition"));
    match directory.as_deref() {
        Some(path) if path.starts_with('/') && path.len() > 1 => {}
        Some(_) => {
            let what = "is not an absolute path below /, and imapd does not start";
            subject.say(Severity::Fault, "configdirectory", what, "write one");
        }
        None => {
            let what = "is not set, and imapd does not start with this file alone";
            let near = nearest_of("configdirectory", subject.conf.names());
            let remedy = near.map_or_else(
                || "set it, such as /var/lib/cyrus".to_owned(),
                |near| format!("is {near} meant to be it?"),
            );
            let severity = match subject.conf.is_complete() {
                true => Severity::Fault,
                // Lines to add to a file are looked at before they are.
                false => Severity::Note,
            };
            subject.say(severity, "configdirectory", what, remedy);
        }
    }
    if let Some(partition) = partition {
        let place = format!("partition-{}", partition.to_ascii_lowercase());
        if !partition.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let what = "is not of letters and digits, and imapd does not start";
            subject.say(Severity::Fault, "defaultpartition", what, "rename it");
        } else if subject.conf.of_host(&place).is_none() {
            let what = format!("{place} is not set, and imapd does not start");
            subject.say(Severity::Fault, "defaultpartition", what, "set it");
        }
    }
}

/// Options that the plugin does not read, and that are unsafe beside it or name what
/// is not configured.
pub(crate) fn check_offer(subject: &mut Subject<'_>, config: &Config, offered: &[&'static str]) {
    check_mech_list(subject, config);
    if offered.is_empty() {
        return;
    }
    check_clear_text(subject, offered);
    let conf = subject.conf;
    if conf.get("saslauthd_path").is_none() {
        for option in conf.transitioning() {
            let what = "stores what passes as a password, tickets and tokens too where they go \
                        through the daemon";
            subject.say(Severity::Warning, &option, what, "take it out");
        }
    }
}

/// Names in the list for which nothing is configured.
fn check_mech_list(subject: &mut Subject<'_>, config: &Config) {
    if subject.conf.get("mech_list").is_none() {
        return;
    }
    for (name, option, is_configured) in [
        ("CASPT", "caspt_url", config.cas.is_some()),
        ("OAUTHBEARER", "jwt_keys", config.jwt.is_some()),
        ("XOAUTH2", "jwt_keys", config.jwt.is_some()),
    ] {
        if login_paths::is_listed(subject.conf, name) && !is_configured {
            let severity = match name {
                "CASPT" => Severity::Warning,
                // Others have plugins of these names.
                _ => Severity::Note,
            };
            let option = subject.conf.written(option);
            let what = format!("names {name}, but {option} is not set; set it or take {name} out");
            subject.say_of_sasl(severity, "mech_list", &what);
        }
    }
}

/// Whether imapd has no certificate, and so offers no TLS.
pub(crate) fn lacks_certificate(conf: &ConfFile) -> bool {
    // imapd's own words for none.
    let is_none = |value: &str| ["", "disabled", "<none>"].contains(&value);
    conf.of_host("tls_server_cert").is_none_or(is_none)
}

/// imapd offers what sends credentials only under TLS, if it is not told otherwise.
fn check_clear_text(subject: &mut Subject<'_>, offered: &[&'static str]) {
    let conf = subject.conf;
    if conf.format() != Format::Imapd {
        return;
    }
    let allowed = allows_clear_text(conf);
    let option = match subject.service {
        Some(service) if conf.spot(&format!("{service}_allowplaintext")).is_some() => {
            format!("{service}_allowplaintext")
        }
        _ => "allowplaintext".to_owned(),
    };
    let names = offered.join(", ");
    if allowed {
        let what = format!("offers {names} without TLS, and tickets and tokens cross in clear");
        let remedy = "set it to no, unless nothing but this host or TLS in front connects";
        subject.say(Severity::Warning, &option, what, remedy);
    } else if subject.conf.is_complete() && lacks_certificate(conf) {
        let what = format!("is not set, and without TLS nobody is offered {names}");
        let remedy = "set it and tls_server_key";
        subject.say(Severity::Warning, "tls_server_cert", what, remedy);
    }
}

/// Whether imapd offers mechanisms that send credentials without TLS.
pub(crate) fn allows_clear_text(conf: &ConfFile) -> bool {
    conf.of_host("allowplaintext").and_then(is_on) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_the_types_that_imapd_reads() {
        for (option, value, is_right) in [
            ("allowplaintext", "yes", true),
            ("allowplaintext", "YES", false),
            ("allowplaintext", "offline", true),
            ("allowplaintext", "maybe", false),
            ("sasl_minimum_layer", "0x10", true),
            ("sasl_minimum_layer", "-1", true),
            ("autocreate_quota", "1k", false),
            ("popminpoll", "often", false),
            ("sasl_minimum_layer", "08", false),
            ("virtdomains", "userid", true),
            ("virtdomains", "Yes", false),
            ("sasl_mech_list", "anything", true),
        ] {
            assert_eq!(
                wrong_type(option, value).is_none(),
                is_right,
                "{option}: {value}"
            );
        }
        assert!(is_duration("1d12h") && is_duration("30") && !is_duration("h"));
    }
}
