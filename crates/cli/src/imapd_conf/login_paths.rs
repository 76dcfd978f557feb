//! The ways by which a credential can reach the plugin or the daemon, as the
//! configuration of one service has them.

#![forbid(unsafe_code)]

use super::ConfFile;
use sso_core::config::{Config, Options};
use sso_core::credential::CredentialKind;

/// What the log calls the way through the daemon.
pub(crate) const DAEMON: &str = "saslauthd";

/// The mechanisms that the plugin offers to libsasl2.
pub(crate) fn configured(config: &Config) -> Vec<&'static str> {
    let all = [
        ("CASPT", config.cas.is_some()),
        ("PLAIN", config.plain),
        ("OAUTHBEARER", config.jwt.is_some()),
        ("XOAUTH2", config.jwt.is_some()),
    ];
    let configured = all.into_iter().filter(|(_, is_configured)| *is_configured);
    configured.map(|(name, _)| name).collect()
}

/// Whether `mech_list` lets libsasl2 offer a mechanism. It is a list of words with
/// white space between them, and of nothing else; without it all are offered.
pub(crate) fn is_listed(conf: &ConfFile, name: &str) -> bool {
    conf.get("mech_list").is_none_or(|list| {
        let mut words = list.split_whitespace();
        words.any(|word| word.eq_ignore_ascii_case(name))
    })
}

/// Whether passwords go to `sasl-sso serve`: the host asks a saslauthd at a socket
/// that is not where the stock one listens.
pub(crate) fn by_daemon(conf: &ConfFile, config: &Config) -> bool {
    let is_stock = |path: &String| path.ends_with("/saslauthd/mux");
    config.fallback.is_some()
        || asks_saslauthd(conf)
            && conf
                .get("saslauthd_path")
                .is_some_and(|path| !is_stock(&path))
}

/// Whether libsasl2 asks a saslauthd about passwords (`pwcheck_method`).
pub(crate) fn asks_saslauthd(conf: &ConfFile) -> bool {
    let methods = conf.get("pwcheck_method").unwrap_or_default();
    methods
        .split_whitespace()
        .any(|method| method.eq_ignore_ascii_case("saslauthd"))
}

/// The ways for a credential of a kind, as the log calls them, the usual one first.
pub(crate) fn of_kind(conf: &ConfFile, config: &Config, kind: CredentialKind) -> Vec<&'static str> {
    let takes = |name: &&str| match (kind, *name) {
        (CredentialKind::Ticket, "CASPT")
        | (CredentialKind::Token, "OAUTHBEARER" | "XOAUTH2")
        | (_, "PLAIN") => is_listed(conf, name),
        _ => false,
    };
    let mut ways: Vec<&str> = configured(config).into_iter().filter(takes).collect();
    // The mechanisms made for it come before a password.
    ways.sort_by_key(|name| *name == "PLAIN");
    if by_daemon(conf, config) {
        ways.push(DAEMON);
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(lines: &str, kind: CredentialKind) -> Vec<&'static str> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let both = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_jwt_keys: discovery\n\
                    sasl_jwt_issuer: https://sso.univ.fr\nsasl_jwt_audience: mail\n";
        std::fs::write(file.path(), format!("{both}{lines}")).unwrap();
        let conf = ConfFile::read(file.path(), None).unwrap();
        let config = conf.config().unwrap();
        of_kind(&conf, &config, kind)
    }

    #[test]
    fn credentials_come_by_listed_mechanisms_and_by_the_daemon() {
        let (ticket, token) = (CredentialKind::Ticket, CredentialKind::Token);
        assert_eq!(ways("", ticket), ["CASPT"]);
        assert_eq!(ways("", token), ["OAUTHBEARER", "XOAUTH2"]);
        let list = "sasl_mech_list: plain xoauth2\n";
        assert_eq!(ways(list, ticket), [""; 0]);
        assert_eq!(ways(list, token), ["XOAUTH2"]);
        let plain = format!("{list}sasl_sso_plain: yes\n");
        assert_eq!(ways(&plain, ticket), ["PLAIN"]);
        assert_eq!(ways(&plain, token), ["XOAUTH2", "PLAIN"]);
        let asks = format!("{list}sasl_pwcheck_method: auxprop saslauthd\n");
        let at = |path: &str| format!("{asks}sasl_saslauthd_path: {path}\n");
        assert_eq!(ways(&at("/run/sasl-sso/mux"), ticket), [DAEMON]);
        assert_eq!(ways(&at("/run/saslauthd/mux"), ticket), [""; 0]);
        // Nobody asks it.
        let unasked = format!("{list}sasl_saslauthd_path: /run/sasl-sso/mux\n");
        assert_eq!(ways(&unasked, ticket), [""; 0]);
    }
}
