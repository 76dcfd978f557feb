//! Options that no program reads, and suggestions for misspelled names.

#![forbid(unsafe_code)]

use strsim::damerau_levenshtein;

use super::context::CheckContext;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::Severity;
use crate::imapd_conf::{ConfFile, Format, PREFIXES};
use sso_core::config;
use sso_core::config::{Config, Options, is_option};

/// imapd's own options: a name and a type in each line.
const IMAPD_OPTIONS: &str = include_str!("imapd_options.txt");

/// Options of libsasl2 and its plugins that servers use (Cyrus SASL, options.html).
const SASL_OPTIONS: &[&str] = &[
    "authdaemond_path",
    "auto_transition",
    "auxprop_plugin",
    "canon_user_plugin",
    "keytab",
    "log_level",
    "mech_list",
    "opiekeys",
    "otp_mda",
    "plugin_list",
    "pwcheck_method",
    "reauth_timeout",
    "saslauthd_path",
    "sasldb_path",
    "sql_database",
    "sql_engine",
    "sql_hostnames",
    "sql_passwd",
    "sql_select",
    "sql_user",
    "srp_mda",
];

/// The type of one of imapd's own options.
pub(crate) fn imapd_option_type(name: &str) -> Option<&'static str> {
    let mut options = IMAPD_OPTIONS
        .lines()
        .filter_map(|line| line.split_once(' '));
    options.find(|(known, _)| *known == name).map(|(_, of)| of)
}

/// An option that no program reads.
pub(crate) struct UnusedOption {
    /// Whether it is, or resembles, an option of single sign-on. The policy then differs from what
    /// the file seems to say.
    pub(crate) is_sso_option: bool,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Checks the name of an option. A service prefix must be removed if the name contains `sasl_`.
pub(crate) fn find_unused(conf: &ConfFile, name: &str) -> Option<UnusedOption> {
    let sasl = conf.format().prefix();
    if let Some(option) = name.strip_prefix(sasl)
        && (is_option(conf, option) || SASL_OPTIONS.contains(&option))
    {
        return None;
    }
    if conf.format() == Format::Imapd && imapd_option_type(name).is_some() {
        return None;
    }
    wrong_prefix(conf, name)
        .or_else(|| unknown_issuer(conf, name))
        .or_else(|| misspelled(conf, name))
        .or_else(|| name_with_colon(conf, name))
}

/// A name with a colon in it: the host application takes the rest of the name for the value.
fn name_with_colon(conf: &ConfFile, name: &str) -> Option<UnusedOption> {
    let value = conf.as_written(name)?;
    let (rest, _) = value.split_once(':')?;
    let sasl = conf.format().prefix();
    let all = sso_names(conf).map(|option| format!("{sasl}{option}"));
    let near = nearest(&format!("{name}:{rest}"), all)?;
    Some(UnusedOption {
        is_sso_option: true,
        problem: "is an option that nobody reads".to_owned(),
        remedy: format!("is it {near}?"),
    })
}

const NEEDS_PREFIX: &str = "imapd hands only options with sasl_ in front to SASL";

/// A name with `sasl_` where the file's format has no prefix, or without it where it is required.
fn wrong_prefix(conf: &ConfFile, name: &str) -> Option<UnusedOption> {
    let (problem, remedy, option) = match conf.format() {
        Format::Sasl => {
            let option = name.strip_prefix("sasl_")?;
            let what = "SASL's own files have its options without sasl_";
            (what, format!("write {option}"), option)
        }
        Format::Imapd if SASL_OPTIONS.contains(&name) && !is_imapd_option(name) => {
            (NEEDS_PREFIX, format!("write sasl_{name}"), name)
        }
        Format::Imapd => {
            let (service, option) = match PREFIXES.iter().find(|with| name.starts_with(**with)) {
                Some(_) => (String::new(), name),
                None => {
                    let (service, option) = name.split_once('_')?;
                    (format!("{service}_"), option)
                }
            };
            (
                NEEDS_PREFIX,
                format!("write {service}sasl_{option}"),
                option,
            )
        }
    };
    (SASL_OPTIONS.contains(&option) || is_option(conf, option)).then(|| UnusedOption {
        is_sso_option: is_option(conf, option),
        problem: format!("is read by nobody: {problem}"),
        remedy,
    })
}

/// An option of an issuer that jwt_issuers does not list.
fn unknown_issuer(conf: &ConfFile, name: &str) -> Option<UnusedOption> {
    let sasl = conf.format().prefix();
    let option = name.strip_prefix(sasl)?;
    let rest = option.strip_prefix("jwt_")?;
    let (issuer, rest) = rest.split_once('_')?;
    if !is_option(conf, &format!("jwt_{rest}")) || rest == "issuers" {
        return None;
    }
    let issuers = conf.get("jwt_issuers").unwrap_or_default();
    let near = nearest(issuer, issuers.split_whitespace().map(str::to_owned));
    Some(UnusedOption {
        is_sso_option: true,
        problem: format!("there is no such option: {sasl}jwt_issuers does not name {issuer}"),
        remedy: match near {
            Some(near) => format!("is it {sasl}jwt_{near}_{rest}?"),
            None => format!("add {issuer} to {sasl}jwt_issuers, or take it out"),
        },
    })
}

fn misspelled(conf: &ConfFile, name: &str) -> Option<UnusedOption> {
    let sasl = conf.format().prefix();
    let sso_names = || sso_names(conf).map(|option| format!("{sasl}{option}"));
    let option = name.strip_prefix(sasl);
    let is_sso_option = |option: &str| PREFIXES.iter().any(|prefix| option.starts_with(prefix));
    if option.is_some_and(is_sso_option) {
        // The prefix shows that an option of single sign-on is meant, so more differences are
        // allowed.
        let remedy = match nearest_within(4, name, sso_names()) {
            Some(near) => format!("is it {near}?"),
            None => "take it out".to_owned(),
        };
        return Some(UnusedOption {
            is_sso_option: true,
            problem: "there is no such option".to_owned(),
            remedy,
        });
    }
    let near_sso_name = nearest(name, sso_names());
    if near_sso_name.is_none() && conf.format() == Format::Imapd && is_imapd_option(name) {
        return None;
    }
    let sasl_options = SASL_OPTIONS.iter().map(|option| format!("{sasl}{option}"));
    let imapd_options = IMAPD_OPTIONS
        .lines()
        .filter_map(|line| line.split_once(' '));
    let imapd_options = imapd_options
        .filter(|_| conf.format() == Format::Imapd)
        .map(|(name, _)| name.to_owned());
    let near = near_sso_name
        .clone()
        .or_else(|| nearest(name, sasl_options.chain(imapd_options)))?;
    Some(UnusedOption {
        is_sso_option: near_sso_name.is_some(),
        problem: "is an option that nobody reads".to_owned(),
        remedy: format!("is it {near}?"),
    })
}

/// All options of single sign-on, including those of each issuer.
fn sso_names(conf: &ConfFile) -> impl Iterator<Item = String> {
    let issuers = conf.get("jwt_issuers").unwrap_or_default();
    let issuers: Vec<String> = issuers.split_whitespace().map(str::to_owned).collect();
    config::names().flat_map(move |name| {
        let of_issuer = |issuer: &String| name.replacen("jwt_", &format!("jwt_{issuer}_"), 1);
        let is_of_issuer = name.starts_with("jwt_") && name != "jwt_issuers";
        let of_issuers = issuers.iter().filter(|_| is_of_issuer).map(of_issuer);
        of_issuers.chain([name.to_owned()]).collect::<Vec<_>>()
    })
}

/// Whether imapd 3.6 reads an option of this name, possibly with the prefix of a service or a
/// replication channel, or with the name of a partition.
fn is_imapd_option(name: &str) -> bool {
    let rest = name.split_once('_').map(|(_, rest)| rest);
    imapd_option_type(name).is_some()
        || rest.is_some_and(|rest| imapd_option_type(rest).is_some())
        || name.contains("partition-")
}

/// The name that was probably meant: at most two letters differ, fewer in short names.
fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let most = match name.len() {
        0..4 => 0,
        4..10 => 1,
        _ => 2,
    };
    nearest_within(most, name, names)
}

fn nearest_within(most: usize, name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    names
        .map(|other| (damerau_levenshtein(name, &other), other))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, other)| other)
}

/// Suggests one of the names.
pub(crate) fn suggest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    nearest(name, names.map(str::to_owned))
}

/// Reports options that no program reads. Options of a service are checked for that service, all
/// others once.
pub(crate) fn check_names(context: &mut CheckContext<'_>, cyrus: Option<&CyrusConf>) {
    let conf = context.conf;
    for name in conf.names() {
        let (service, option) = match name.split_once("_sasl_") {
            // Some of imapd's own options contain `_sasl_`.
            Some((service, _)) if imapd_option_type(name).is_none() => {
                (Some(service), &name[service.len() + 1..])
            }
            _ => (None, name),
        };
        if service.is_some() && service == context.service || service.is_none() {
            if let Some(unused) = find_unused(conf, option) {
                let severity = match unused.is_sso_option {
                    true => Severity::Fault,
                    false => Severity::Warning,
                };
                let remedy = match service {
                    Some(service) => {
                        let of_service = format!("{service}_sasl_");
                        unused.remedy.replace("sasl_", &of_service)
                    }
                    None => unused.remedy,
                };
                context.add(severity, name, unused.problem, remedy);
            }
        } else if let (Some(service), Some(cyrus)) = (service, cyrus)
            && !cyrus.has(service)
        {
            let what = format!("is read by nobody: cyrus.conf has no service {service}");
            let remedy = match suggest(service, cyrus.names()) {
                Some(near) => format!("is {near} meant?"),
                None => "take it out, or name one that is there".to_owned(),
            };
            context.add(Severity::Warning, name, what, remedy);
        }
    }
}

/// Options of a mechanism that is not configured. The plugin does not report them, because programs
/// that do not use it load it too.
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
        // The missing option may be set for single services.
        let of_some = |name: &str| {
            missing
                .iter()
                .any(|one| name.ends_with(&format!("_{sasl}{one}")))
        };
        if is_configured || conf.names().any(of_some) {
            continue;
        }
        let mut names = conf.sasl_names().filter(|name| name.starts_with(prefix));
        if let Some(option) = names.next().map(|name| conf.written_name(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> ConfFile {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conf");
        std::fs::write(&path, text).unwrap();
        ConfFile::read(&path, None).unwrap()
    }

    fn remedy(conf: &ConfFile, name: &str) -> String {
        find_unused(conf, name).map_or_else(String::new, |unused| unused.remedy)
    }

    #[test]
    fn similar_names_are_suggested_also_for_options_of_issuers() {
        let conf = conf("sasl_jwt_issuers: univ\nconfigdirectory: /x\n");
        for (name, near) in [
            ("sasl_caspt_ulr", "is it sasl_caspt_url?"),
            ("sasl_jwt_univ_keyz", "is it sasl_jwt_univ_keys?"),
            ("sasl_jwt_unvi_keys", "is it sasl_jwt_univ_keys?"),
            ("sasl_casptt_url", "is it sasl_caspt_url?"),
            // imapd has an option `timeout`, and a service of that name could exist.
            ("sasl0caspt_timeout", "is it sasl_caspt_timeout?"),
            ("sasl-caspt-url", "is it sasl_caspt_url?"),
            ("sasl_mech_lst", "is it sasl_mech_list?"),
            ("allowplaintxt", "is it allowplaintext?"),
            ("caspt_url", "write sasl_caspt_url"),
            ("http_jwt_max_age", ""),
            ("http_jwt_require", "write http_sasl_jwt_require"),
            ("pop3_jwt_require", "write pop3_sasl_jwt_require"),
            ("mech_list", "write sasl_mech_list"),
            ("sasl_caspt_proxy", "is it sasl_caspt_proxies?"),
            ("sasl_caspt_url", ""),
            ("sasl_jwt_univ_keys", ""),
            ("sasl_ldapdb_uri", ""),
            ("lmtp_allowplaintext", ""),
            ("partition-news", ""),
        ] {
            assert_eq!(remedy(&conf, name), near, "{name}");
        }
        assert!(remedy(&conf, "sasl_jwt_portal_keys").starts_with("add portal to"));
    }

    #[test]
    fn name_split_by_a_colon_is_recognized() {
        let conf = conf("sas:l_caspt_url: x\nsasl: a https://b/\n");
        assert_eq!(remedy(&conf, "sas"), "is it sasl_caspt_url?");
        assert_eq!(remedy(&conf, "sasl"), "");
    }

    #[test]
    fn misspelled_sso_options_are_recognized() {
        let conf = conf("configdirectory: /x\n");
        let is_sso_option =
            |name: &str| find_unused(&conf, name).map(|unused| unused.is_sso_option);
        assert_eq!(is_sso_option("sasl_sso_statedir"), Some(true));
        assert_eq!(is_sso_option("jwt_require"), Some(true));
        assert_eq!(is_sso_option("sasl_pwcheck_methd"), Some(false));
        assert_eq!(is_sso_option("newsspool"), None);
    }

    #[test]
    fn sasl_prefix_is_rejected_in_a_file_of_sasl() {
        let conf = conf("pwcheck_method: saslauthd\nmech_list: PLAIN\n");
        assert_eq!(remedy(&conf, "sasl_jwt_keys"), "write jwt_keys");
        assert_eq!(remedy(&conf, "mech_lists"), "is it mech_list?");
        assert_eq!(remedy(&conf, "jwt_key"), "is it jwt_keys?");
    }
}
