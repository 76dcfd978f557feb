//! The paths by which a credential can reach the plugin or the daemon, according to the
//! configuration of one service.

#![forbid(unsafe_code)]

use super::ConfFile;
use sso_core::config::{Config, Options};
use sso_core::credential::CredentialKind;

/// The name of the daemon's path in the log.
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

/// Whether `mech_list` allows a mechanism. The list is separated by white space; without a list,
/// all mechanisms are allowed.
pub(crate) fn is_listed(conf: &ConfFile, name: &str) -> bool {
    conf.get("mech_list").is_none_or(|list| {
        let mut words = list.split_whitespace();
        words.any(|word| word.eq_ignore_ascii_case(name))
    })
}

/// Whether passwords are sent to `sasl-sso serve`: the host application asks a saslauthd at another
/// socket than the default one.
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

/// The paths for a kind of credential, by their names in the log, the usual one first.
pub(crate) fn for_kind(
    conf: &ConfFile,
    config: &Config,
    kind: CredentialKind,
) -> Vec<&'static str> {
    let is_usable = |name: &&str| match (kind, *name) {
        (CredentialKind::Ticket, "CASPT")
        | (CredentialKind::Token, "OAUTHBEARER" | "XOAUTH2")
        | (_, "PLAIN") => is_listed(conf, name),
        _ => false,
    };
    let mut paths: Vec<&str> = configured(config).into_iter().filter(is_usable).collect();
    // Dedicated mechanisms precede the one for passwords.
    paths.sort_by_key(|name| *name == "PLAIN");
    if by_daemon(conf, config) {
        paths.push(DAEMON);
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(lines: &str, kind: CredentialKind) -> Vec<&'static str> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let both = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_jwt_keys: discovery\n\
                    sasl_jwt_issuer: https://sso.univ.fr\nsasl_jwt_audience: mail\n";
        std::fs::write(file.path(), format!("{both}{lines}")).unwrap();
        let conf = ConfFile::read(file.path(), None).unwrap();
        let config = conf.config().unwrap();
        for_kind(&conf, &config, kind)
    }

    #[test]
    fn credentials_arrive_by_listed_mechanisms_and_by_the_daemon() {
        let (ticket, token) = (CredentialKind::Ticket, CredentialKind::Token);
        assert_eq!(paths("", ticket), ["CASPT"]);
        assert_eq!(paths("", token), ["OAUTHBEARER", "XOAUTH2"]);
        let list = "sasl_mech_list: plain xoauth2\n";
        assert_eq!(paths(list, ticket), [""; 0]);
        assert_eq!(paths(list, token), ["XOAUTH2"]);
        let plain = format!("{list}sasl_sso_plain: yes\n");
        assert_eq!(paths(&plain, ticket), ["PLAIN"]);
        assert_eq!(paths(&plain, token), ["XOAUTH2", "PLAIN"]);
        let asks = format!("{list}sasl_pwcheck_method: auxprop saslauthd\n");
        let at = |path: &str| format!("{asks}sasl_saslauthd_path: {path}\n");
        assert_eq!(paths(&at("/run/sasl-sso/mux"), ticket), [DAEMON]);
        assert_eq!(paths(&at("/run/saslauthd/mux"), ticket), [""; 0]);
        // The host application does not use saslauthd.
        let unasked = format!("{list}sasl_saslauthd_path: /run/sasl-sso/mux\n");
        assert_eq!(paths(&unasked, ticket), [""; 0]);
    }
}
