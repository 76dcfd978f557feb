//! The names of options that somebody reads, and the nearest of them to one that
//! nobody does.

#![forbid(unsafe_code)]

use strsim::damerau_levenshtein;

use crate::imapd_conf::{ConfFile, Format, PREFIXES};
use sso_core::config;
use sso_core::config::{Options, is_option};

/// What imapd has of its own: name and type in each line.
const OF_IMAPD: &str = include_str!("imapd_options.txt");

/// What libsasl2 and its own plugins ask for (Cyrus SASL, options.html), as far as
/// servers do.
const OF_SASL: &[&str] = &[
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

/// Of what type imapd takes an option of its own to be.
pub(crate) fn type_in_imapd(name: &str) -> Option<&'static str> {
    let mut options = OF_IMAPD.lines().filter_map(|line| line.split_once(' '));
    options.find(|(known, _)| *known == name).map(|(_, of)| of)
}

/// Why nobody reads an option, if it looks as if somebody should.
pub(crate) struct Unread {
    /// Whether it is, or was meant to be, one of single sign-on: the policy is not
    /// what it seems to be.
    pub(crate) is_ours: bool,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// What is wrong with a name as it is written in an imapd.conf, without the
/// service before it if it has `sasl_` in it.
pub(crate) fn unread(conf: &ConfFile, name: &str) -> Option<Unread> {
    let sasl = conf.format().prefix();
    if let Some(option) = name.strip_prefix(sasl)
        && (is_option(conf, option) || OF_SASL.contains(&option))
    {
        return None;
    }
    if conf.format() == Format::Imapd && type_in_imapd(name).is_some() {
        return None;
    }
    misplaced(conf, name)
        .or_else(|| of_no_issuer(conf, name))
        .or_else(|| mistyped(conf, name))
        .or_else(|| cut_short(conf, name))
}

/// A name with a colon in the middle: the rest of it is in the value.
fn cut_short(conf: &ConfFile, name: &str) -> Option<Unread> {
    let value = conf.as_written(name)?;
    let (rest, _) = value.split_once(':')?;
    let sasl = conf.format().prefix();
    let all = ours(conf).map(|option| format!("{sasl}{option}"));
    let near = nearest(&format!("{name}:{rest}"), all)?;
    Some(Unread {
        is_ours: true,
        problem: "is an option that nobody reads".to_owned(),
        remedy: format!("is it {near}?"),
    })
}

const NEEDS_PREFIX: &str = "imapd hands only options with sasl_ in front to SASL";

/// With `sasl_` where there must be none, or without it where it must be.
fn misplaced(conf: &ConfFile, name: &str) -> Option<Unread> {
    let (problem, remedy, option) = match conf.format() {
        Format::Sasl => {
            let option = name.strip_prefix("sasl_")?;
            let what = "SASL's own files have its options without sasl_";
            (what, format!("write {option}"), option)
        }
        Format::Imapd if OF_SASL.contains(&name) && !is_of_imapd(name) => {
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
    (OF_SASL.contains(&option) || is_option(conf, option)).then(|| Unread {
        is_ours: is_option(conf, option),
        problem: format!("is read by nobody: {problem}"),
        remedy,
    })
}

/// An option of an issuer that jwt_issuers does not name.
fn of_no_issuer(conf: &ConfFile, name: &str) -> Option<Unread> {
    let sasl = conf.format().prefix();
    let option = name.strip_prefix(sasl)?;
    let rest = option.strip_prefix("jwt_")?;
    let (issuer, rest) = rest.split_once('_')?;
    if !is_option(conf, &format!("jwt_{rest}")) || rest == "issuers" {
        return None;
    }
    let issuers = conf.get("jwt_issuers").unwrap_or_default();
    let near = nearest(issuer, issuers.split_whitespace().map(str::to_owned));
    Some(Unread {
        is_ours: true,
        problem: format!("there is no such option: {sasl}jwt_issuers does not name {issuer}"),
        remedy: match near {
            Some(near) => format!("is it {sasl}jwt_{near}_{rest}?"),
            None => format!("add {issuer} to {sasl}jwt_issuers, or take it out"),
        },
    })
}

fn mistyped(conf: &ConfFile, name: &str) -> Option<Unread> {
    let sasl = conf.format().prefix();
    let ours = || ours(conf).map(|option| format!("{sasl}{option}"));
    let option = name.strip_prefix(sasl);
    let is_ours = |option: &str| PREFIXES.iter().any(|prefix| option.starts_with(prefix));
    if option.is_some_and(is_ours) {
        // It is clear whose it is: what was meant may be further away.
        let remedy = match nearest_within(4, name, ours()) {
            Some(near) => format!("is it {near}?"),
            None => "take it out".to_owned(),
        };
        return Some(Unread {
            is_ours: true,
            problem: "there is no such option".to_owned(),
            remedy,
        });
    }
    let near_ours = nearest(name, ours());
    if near_ours.is_none() && conf.format() == Format::Imapd && is_of_imapd(name) {
        return None;
    }
    let of_sasl = OF_SASL.iter().map(|option| format!("{sasl}{option}"));
    let of_imapd = OF_IMAPD.lines().filter_map(|line| line.split_once(' '));
    let of_imapd = of_imapd
        .filter(|_| conf.format() == Format::Imapd)
        .map(|(name, _)| name.to_owned());
    let near = near_ours
        .clone()
        .or_else(|| nearest(name, of_sasl.chain(of_imapd)))?;
    Some(Unread {
        is_ours: near_ours.is_some(),
        problem: "is an option that nobody reads".to_owned(),
        remedy: format!("is it {near}?"),
    })
}

/// Every option of ours that there can be, with those of each issuer.
fn ours(conf: &ConfFile) -> impl Iterator<Item = String> {
    let issuers = conf.get("jwt_issuers").unwrap_or_default();
    let issuers: Vec<String> = issuers.split_whitespace().map(str::to_owned).collect();
    config::names().flat_map(move |name| {
        let of_issuer = |issuer: &String| name.replacen("jwt_", &format!("jwt_{issuer}_"), 1);
        let is_of_issuer = name.starts_with("jwt_") && name != "jwt_issuers";
        let of_issuers = issuers.iter().filter(|_| is_of_issuer).map(of_issuer);
        of_issuers.chain([name.to_owned()]).collect::<Vec<_>>()
    })
}

/// Whether imapd 3.6 reads an option of this name, perhaps of one service or one
/// channel of replication, or makes one of a partition's name.
fn is_of_imapd(name: &str) -> bool {
    let rest = name.split_once('_').map(|(_, rest)| rest);
    type_in_imapd(name).is_some()
        || rest.is_some_and(|rest| type_in_imapd(rest).is_some())
        || name.contains("partition-")
}

/// The name that was probably meant: one of two letters' difference at most, fewer
/// in short names.
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

/// The nearest of some names, for those who know them.
pub(crate) fn nearest_of<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    nearest(name, names.map(str::to_owned))
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
        unread(conf, name).map_or_else(String::new, |unread| unread.remedy)
    }

    #[test]
    fn the_nearest_name_is_found_also_of_an_issuers_options() {
        let conf = conf("sasl_jwt_issuers: univ\nconfigdirectory: /x\n");
        for (name, near) in [
            ("sasl_caspt_ulr", "is it sasl_caspt_url?"),
            ("sasl_jwt_univ_keyz", "is it sasl_jwt_univ_keys?"),
            ("sasl_jwt_unvi_keys", "is it sasl_jwt_univ_keys?"),
            ("sasl_casptt_url", "is it sasl_caspt_url?"),
            // imapd has an option timeout, and there might be a service of that name.
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
    fn a_name_with_a_colon_in_it_is_put_together() {
        let conf = conf("sas:l_caspt_url: x\nsasl: a https://b/\n");
        assert_eq!(remedy(&conf, "sas"), "is it sasl_caspt_url?");
        assert_eq!(remedy(&conf, "sasl"), "");
    }

    #[test]
    fn what_is_ours_is_known_to_be() {
        let conf = conf("configdirectory: /x\n");
        let is_ours = |name: &str| unread(&conf, name).map(|unread| unread.is_ours);
        assert_eq!(is_ours("sasl_sso_statedir"), Some(true));
        assert_eq!(is_ours("jwt_require"), Some(true));
        assert_eq!(is_ours("sasl_pwcheck_methd"), Some(false));
        assert_eq!(is_ours("newsspool"), None);
    }

    #[test]
    fn a_file_of_sasl_has_no_prefix() {
        let conf = conf("pwcheck_method: saslauthd\nmech_list: PLAIN\n");
        assert_eq!(remedy(&conf, "sasl_jwt_keys"), "write jwt_keys");
        assert_eq!(remedy(&conf, "mech_lists"), "is it mech_list?");
        assert_eq!(remedy(&conf, "jwt_key"), "is it jwt_keys?");
    }
}
