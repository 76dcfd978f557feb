//! Quotes and commas in values: host applications treat them as part of the value.

#![forbid(unsafe_code)]

use super::RiskInputs;
use crate::commands::check::context::CheckContext;
use crate::commands::check::diagnostic::Severity;
use crate::imapd_conf::PREFIXES;
use sso_core::config::Options;

/// imapd's own options that this command evaluates.
const HOST_OPTIONS: &[&str] = &[
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

/// Options of single sign-on with a list of words, where a comma would be part of a word. Elsewhere
/// the plugin rejects commas.
const LISTS: &[&str] = &[
    "caspt_url",
    "caspt_proxies",
    "jwt_audience",
    "jwt_types",
    "sso_strip_domain",
];

/// Host applications do not remove quotes.
pub(crate) fn quotes(context: &mut CheckContext<'_>, _: &RiskInputs<'_>) {
    let names: Vec<String> = context.conf.sasl_names().map(str::to_owned).collect();
    for name in names {
        let option = context.conf.written_name(&name);
        // A rule may contain quotes, but not around the whole value.
        let by_words = !name.ends_with("_require");
        check_quotes(context, &option, by_words);
    }
    for name in HOST_OPTIONS {
        check_quotes(context, name, false);
    }
}

fn check_quotes(context: &mut CheckContext<'_>, option: &str, by_words: bool) {
    let Some(value) = context.conf.as_written(option) else {
        return;
    };
    let words = value.split_whitespace().filter(|_| by_words);
    if is_quoted(&value) || words.into_iter().any(is_quoted) {
        let what = "has quotes, which are read as part of the value";
        context.add(Severity::Warning, option, what, "write it without them");
    }
}

fn is_quoted(text: &str) -> bool {
    let within = |quote: char| {
        text.strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    text.len() > 1 && ['"', '\''].into_iter().any(|quote| within(quote).is_some())
}

/// Lists are separated by white space.
pub(crate) fn commas(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let issuers = inputs
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
    for name in names.iter().filter(|name| inputs.is_sound(name)) {
        let value = context.conf.get(name).unwrap_or_default();
        // A URL may contain a comma.
        let is_wrong = |word: &&str| match word.contains("://") {
            true => word.ends_with(',') || word.contains(",http"),
            false => word.contains(','),
        };
        if let Some(word) = value.split_whitespace().find(is_wrong) {
            let what = format!(
                "\"{word}\" has a comma, and counts as one value; write blanks between values"
            );
            context.add_for_sasl(Severity::Warning, name, &what);
        }
    }
}
