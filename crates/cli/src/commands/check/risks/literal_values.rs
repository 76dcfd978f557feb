//! Values that are not read as they look: hosts take them as they stand.

#![forbid(unsafe_code)]

use super::Context;
use crate::commands::check::context::Subject;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::PREFIXES;
use sso_core::config::Options;

/// Options of imapd's own on which this command relies.
const OF_HOST: &[&str] = &[
    "admins",
    "allowplaintext",
    "allowstarttls",
    "configdirectory",
    "cyrus_user",
    "defaultdomain",
    "loginrealms",
    "proxyservers",
    "servername",
    "tls_server_cert",
    "tls_server_key",
    "virtdomains",
];

/// Options of ours whose values are lists of words, and in which a comma is part of
/// a word. Where no word may hold one, the plugin refuses it.
const LISTS: &[&str] = &[
    "caspt_url",
    "caspt_proxies",
    "jwt_audience",
    "jwt_types",
    "sso_strip_domain",
];

/// No host takes quotes off a value.
pub(crate) fn quotes(subject: &mut Subject<'_>, _: &Context<'_>) {
    let names: Vec<String> = subject.conf.sasl_names().map(str::to_owned).collect();
    for name in names {
        let option = subject.conf.written(&name);
        // A rule may have quotes of its own, but not around the whole.
        let by_words = !name.ends_with("_require");
        check_quotes(subject, &option, by_words);
    }
    for name in OF_HOST {
        check_quotes(subject, name, false);
    }
}

fn check_quotes(subject: &mut Subject<'_>, option: &str, by_words: bool) {
    let Some(value) = subject.conf.as_written(option) else {
        return;
    };
    let words = value.split_whitespace().filter(|_| by_words);
    if is_quoted(&value) || words.into_iter().any(is_quoted) {
        let what = "has quotes, which are read as part of the value";
        subject.say(Severity::Warning, option, what, "write it without them");
    }
}

fn is_quoted(text: &str) -> bool {
    let within = |quote: char| {
        text.strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    text.len() > 1 && ['"', '\''].into_iter().any(|quote| within(quote).is_some())
}

/// Lists are words with white space between them.
pub(crate) fn commas(subject: &mut Subject<'_>, context: &Context<'_>) {
    let issuers = context
        .examined
        .config
        .jwt
        .iter()
        .flat_map(|jwt| &jwt.issuers);
    let of_issuers = issuers.flat_map(|issuer| {
        let lists = LISTS.iter().filter_map(|name| name.strip_prefix("jwt_"));
        lists.map(|rest| issuer.option(rest)).collect::<Vec<_>>()
    });
    let of_all = LISTS.iter().filter(|name| !name.starts_with(PREFIXES[1]));
    let names: Vec<String> = of_all
        .map(|name| (*name).to_owned())
        .chain(of_issuers)
        .collect();
    for name in names.iter().filter(|name| context.is_sound(name)) {
        let value = subject.conf.get(name).unwrap_or_default();
        // A URL may have a comma in it.
        let is_wrong = |word: &&str| match word.contains("://") {
            true => word.ends_with(',') || word.contains(",http"),
            false => word.contains(','),
        };
        if let Some(word) = value.split_whitespace().find(is_wrong) {
            let what = format!(
                "\"{word}\" has a comma, and counts as one value; write blanks between values"
            );
            subject.say_of_sasl(Severity::Warning, name, &what);
        }
    }
}
