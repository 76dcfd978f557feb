//! Options of the host application: whether it starts, and when it offers the mechanisms.

#![forbid(unsafe_code)]

use super::context::CheckContext;
use super::diagnostic::Severity;
use super::option_names::{imapd_option_type, suggest};
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, Format};
use sso_core::config::{Config, Options, is_on};

/// Checks what prevents imapd from starting, as far as this program knows: the types of values, and
/// required options.
pub(crate) fn check_imapd(context: &mut CheckContext<'_>) {
    if context.conf.format() != Format::Imapd {
        return;
    }
    let names: Vec<String> = context.conf.names().map(str::to_owned).collect();
    for name in names {
        let option = match (context.service, name.split_once('_')) {
            (Some(service), Some((of, rest))) if of == service => rest,
            _ => &name,
        };
        let value = context.conf.as_written(&name).unwrap_or_default();
        if let Some(remedy) = wrong_type(option, &value) {
            let problem = format!("\"{value}\" is nothing that imapd takes, and it does not start");
            context.add(Severity::Fault, &name, problem, remedy);
        }
    }
    check_directories(context);
}

/// The remedy for a value that does not have the option's type; `None` if it does.
fn wrong_type(option: &str, value: &str) -> Option<&'static str> {
    let is_right = match imapd_option_type(option)? {
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
    (!is_right).then(|| match imapd_option_type(option) {
        Some("switch") => "write yes or no, in lower case",
        Some("number") => "write a whole number",
        Some("duration") => "write a number with d, h, m or s behind it",
        _ => "write off, userid or on",
    })
}

/// Whether strtol(3) with base 0 reads the whole value.
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

fn check_directories(context: &mut CheckContext<'_>) {
    let get = |name: &str| context.conf.host_option(name).map(str::to_owned);
    let (directory, partition) = (get("configdirectory"), get("defaultpartition"));
    match directory.as_deref() {
        Some(path) if path.starts_with('/') && path.len() > 1 => {}
        Some(_) => {
            let what = "is not an absolute path below /, and imapd does not start";
            context.add(Severity::Fault, "configdirectory", what, "write one");
        }
        None => {
            let what = "is not set, and imapd does not start with this file alone";
            let near = suggest("configdirectory", context.conf.names());
            let remedy = near.map_or_else(
                || "set it, such as /var/lib/cyrus".to_owned(),
                |near| format!("is {near} meant to be it?"),
            );
            let severity = match context.conf.is_complete() {
                true => Severity::Fault,
                // The lines may be checked before they are added to a file.
                false => Severity::Note,
            };
            context.add(severity, "configdirectory", what, remedy);
        }
    }
    if let Some(partition) = partition {
        let place = format!("partition-{}", partition.to_ascii_lowercase());
        if !partition.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let what = "is not of letters and digits, and imapd does not start";
            context.add(Severity::Fault, "defaultpartition", what, "rename it");
        } else if context.conf.host_option(&place).is_none() {
            let what = format!("{place} is not set, and imapd does not start");
            context.add(Severity::Fault, "defaultpartition", what, "set it");
        }
    }
}

/// Checks options that the plugin does not read, but that are unsafe with it or name a mechanism
/// that is not configured.
pub(crate) fn check_offer(
    context: &mut CheckContext<'_>,
    config: &Config,
    offered: &[&'static str],
) {
    check_mech_list(context, config);
    if offered.is_empty() {
        return;
    }
    check_clear_text(context, offered);
    let conf = context.conf;
    if conf.get("saslauthd_path").is_none() {
        for option in conf.auto_transition_options() {
            let what = "stores what passes as a password, tickets and tokens too where they go \
                        through the daemon";
            context.add(Severity::Warning, &option, what, "take it out");
        }
    }
}

/// Reports mechanisms in `mech_list` that are not configured.
fn check_mech_list(context: &mut CheckContext<'_>, config: &Config) {
    if context.conf.get("mech_list").is_none() {
        return;
    }
    for (name, option, is_configured) in [
        ("CASPT", "caspt_url", config.cas.is_some()),
        ("OAUTHBEARER", "jwt_keys", config.jwt.is_some()),
        ("XOAUTH2", "jwt_keys", config.jwt.is_some()),
    ] {
        if login_paths::is_listed(context.conf, name) && !is_configured {
            let severity = match name {
                "CASPT" => Severity::Warning,
                // Other plugins have mechanisms of these names.
                _ => Severity::Note,
            };
            let option = context.conf.written_name(option);
            let what = format!("names {name}, but {option} is not set; set it or take {name} out");
            context.add_for_sasl(severity, "mech_list", &what);
        }
    }
}

/// Whether imapd has no certificate and therefore offers no TLS.
pub(crate) fn lacks_certificate(conf: &ConfFile) -> bool {
    // imapd treats these values as unset.
    let is_none = |value: &str| ["", "disabled", "<none>"].contains(&value);
    conf.host_option("tls_server_cert").is_none_or(is_none)
}

/// By default imapd offers these mechanisms only under TLS, because they send the credential
/// itself.
fn check_clear_text(context: &mut CheckContext<'_>, offered: &[&'static str]) {
    let conf = context.conf;
    if conf.format() != Format::Imapd {
        return;
    }
    let allowed = allows_clear_text(conf);
    let option = match context.service {
        Some(service)
            if conf
                .location(&format!("{service}_allowplaintext"))
                .is_some() =>
        {
            format!("{service}_allowplaintext")
        }
        _ => "allowplaintext".to_owned(),
    };
    let names = offered.join(", ");
    if allowed {
        let what = format!("offers {names} without TLS, and tickets and tokens cross in clear");
        let remedy = "set it to no, unless nothing but this host or TLS in front connects";
        context.add(Severity::Warning, &option, what, remedy);
    } else if context.conf.is_complete() && lacks_certificate(conf) {
        let what = format!("is not set, and without TLS nobody is offered {names}");
        let remedy = "set it and tls_server_key";
        context.add(Severity::Warning, "tls_server_cert", what, remedy);
    }
}

/// Whether imapd offers these mechanisms without TLS.
pub(crate) fn allows_clear_text(conf: &ConfFile) -> bool {
    conf.host_option("allowplaintext").and_then(is_on) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_against_the_types_of_imapd() {
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
