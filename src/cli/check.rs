//! `sasl-sso check`: is the configuration right, before the restart?

#![forbid(unsafe_code)]

use std::path::Path;

use clap::Args;

use super::Status;
use super::conf_file::{ConfFile, PREFIXES, Place};
use super::console::Console;
use crate::config::{Config, Options, is_option};
use crate::http;
use crate::jwt;

/// Is the configuration right, before the restart?
///
/// Reads the file as the plugin will, and names every fault in the options of
/// single sign-on; without --service also of services that have options of their
/// own. Exit status: 0 without fault, 1 with faults, 2 if it cannot be read.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    let place = &arguments.place;
    match check(&place.config, place.service.as_deref(), console) {
        Ok(0) => Status::Good,
        Ok(_) => Status::Bad,
        Err(problem) => {
            console.complain(problem);
            Status::Unusable
        }
    }
}

/// Checks a file for one service or, if none is named, for those without options
/// of their own and for each that has some.
fn check(path: &Path, service: Option<&str>, console: &mut Console) -> Result<usize, String> {
    let file = path.display();
    let conf = ConfFile::read(path, service)?;
    let mut faults = judge(&conf, &file.to_string(), console);
    if service.is_none() {
        for service in conf.services() {
            let conf = ConfFile::read(path, Some(service))?;
            faults += judge(&conf, &format!("{file} for {service}"), console);
        }
    }
    Ok(faults)
}

/// Says all there is to say of the options of one service, and how many of it are
/// faults.
fn judge(conf: &ConfFile, label: &str, console: &mut Console) -> usize {
    let sasl = conf.format().prefix();
    let mut complain = |line: &dyn std::fmt::Display| console.line(format_args!("{label}: {line}"));
    let mut faults = 0;
    for name in conf.sasl_names() {
        // The plugin asks for the names that it knows; it cannot see others.
        let ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if ours && !is_option(conf, name) {
            faults += 1;
            complain(&format_args!("{sasl}{name}: there is no such option"));
        }
    }
    match Config::read(conf) {
        Ok(config) if faults == 0 => {
            let mut problems = unread(conf, &config);
            problems.extend(unreadable(&config, sasl));
            problems.extend(conf.asks_itself(&config));
            if conf.get("saslauthd_path").is_some() {
                problems.extend(conf.transitions());
            }
            faults += problems.len();
            for problem in problems {
                complain(&problem);
            }
            complain(&offered(&config, sasl));
        }
        Ok(_) => {}
        Err(found) => {
            faults += found.len();
            for fault in found {
                complain(&format_args!("{sasl}{fault}"));
            }
        }
    }
    faults
}

/// Which mechanisms the plugin will offer.
fn offered(config: &Config, sasl: &str) -> String {
    let offered: Vec<&str> = [
        ("CASPT", config.cas.is_some()),
        ("PLAIN", config.plain),
        ("OAUTHBEARER", config.jwt.is_some()),
        ("XOAUTH2", config.jwt.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, is_offered)| is_offered.then_some(name))
    .collect();
    match &offered[..] {
        [] => format!("nothing is offered: neither {sasl}caspt_url nor {sasl}jwt_keys is set"),
        [only] => format!("{only} is offered"),
        [all @ .., last] => format!("{} and {last} are offered", all.join(", ")),
    }
}

/// Options of a mechanism that is not configured: the plugin keeps silent about
/// them, for it is loaded by programs that have nothing to do with it.
fn unread(conf: &ConfFile, config: &Config) -> Vec<String> {
    let sasl = conf.format().prefix();
    let mut problems = Vec::new();
    for (prefix, is_configured, missing) in [
        ("caspt_", config.cas.is_some(), "caspt_url"),
        ("jwt_", config.jwt.is_some(), "jwt_keys"),
        (
            "sso_",
            config.cas.is_some() || config.jwt.is_some(),
            "caspt_url or jwt_keys",
        ),
    ] {
        let set = conf.sasl_names().find(|name| name.starts_with(prefix));
        if let (false, Some(name)) = (is_configured, set) {
            problems.push(format!(
                "{sasl}{name}: has no effect without {sasl}{missing}"
            ));
        }
    }
    problems
}

/// What the plugin will read with the first credential, and not before, and what
/// is wrong with it.
fn unreadable(config: &Config, sasl: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check_roots = |option: &str, path: Option<&Path>| {
        if let Some(Err(problem)) = path.map(http::check_roots) {
            problems.push(format!("{sasl}{option}: {problem}"));
        }
    };
    if let Some(cas) = &config.cas {
        check_roots("caspt_ca_file", cas.ca_file.as_deref());
    }
    let issuers = config.jwt.iter().flat_map(|jwt| &jwt.issuers);
    for issuer in issuers.clone() {
        check_roots(&issuer.option("ca_file"), issuer.ca_file.as_deref());
    }
    for issuer in issuers {
        let option = issuer.option("keys");
        let complaints = jwt::check_keys(&issuer.keys);
        problems.extend(
            complaints
                .iter()
                .map(|what| format!("{sasl}{option}: {what}")),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &Path) -> Arguments {
        Arguments {
            place: Place {
                config: config.to_owned(),
                service: None,
            },
        }
    }

    fn check(conf: &str) -> (String, Status) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("imapd.conf");
        std::fs::write(&path, conf).unwrap();
        let (mut console, out, _) = Console::of_test("");
        let status = run(&of(&path), &mut console);
        (
            out.text().replace(&format!("{}: ", path.display()), ""),
            status,
        )
    }

    #[test]
    fn every_fault_is_named_and_so_is_an_option_that_nobody_reads() {
        let (said, status) = check(
            "sasl_caspt_url: https://cas.univ.fr/cas\n\
             sasl_caspt_proxy: https://webmail.univ.fr/*\n\
             sasl_caspt_timeout: 5s\n\
             sasl_sso_realm: @univ.fr\n",
        );
        let options: Vec<&str> = said.lines().filter_map(|l| l.split(':').next()).collect();
        assert_eq!(
            options,
            ["sasl_caspt_proxy", "sasl_caspt_timeout", "sasl_sso_realm"]
        );
        assert_eq!(status, Status::Bad);
    }

    #[test]
    fn a_good_configuration_is_called_good() {
        let good = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                    sasl_caspt_proxies: https://webmail.univ.fr/*\n";
        assert_eq!(check(good), ("CASPT is offered\n".to_owned(), Status::Good));
        let good = "sasl_jwt_issuers: univ\n\
                    sasl_jwt_univ_issuer: https://sso.univ.fr\n\
                    sasl_jwt_univ_keys: discovery\n\
                    sasl_jwt_univ_audience: mail\n";
        let offered = "OAUTHBEARER and XOAUTH2 are offered\n".to_owned();
        assert_eq!(check(good), (offered, Status::Good));
        let (said, status) = check("configdirectory: /var/lib/cyrus\n");
        assert!(said.starts_with("nothing is offered"), "{said}");
        assert_eq!(status, Status::Good);
    }

    #[test]
    fn keys_that_cannot_be_used_are_named_before_the_first_token() {
        let (said, status) = check(
            "sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n\
             sasl_jwt_univ_keys: discovery\n",
        );
        assert!(said.contains("sasl_jwt_univ_keys: there is no"), "{said}");
        assert_eq!(status, Status::Bad);
        let (said, status) = check("sasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
        assert!(said.contains("no effect without sasl_jwt_keys"), "{said}");
        assert_eq!(status, Status::Bad);
        let (said, status) =
            check("sasl_jwt_keys: /missing/keys\nsasl_jwt_issuer: *\nsasl_jwt_audience: *\n");
        assert!(said.starts_with("sasl_jwt_keys: /missing/keys: "), "{said}");
        assert_eq!(status, Status::Bad);
    }

    #[test]
    fn a_file_of_sasl_is_read_as_one() {
        let (said, status) = check(
            "mech_list: PLAIN OAUTHBEARER\njwt_keys: discovery\njwt_issuer: https://sso.univ.fr\n\
             jwt_audience: mail\nsso_plain: yes\n",
        );
        assert_eq!(said, "PLAIN, OAUTHBEARER and XOAUTH2 are offered\n");
        assert_eq!(status, Status::Good);
        let (said, _) = check("jwt_keys: discovery\njwt_isuer: x\n");
        assert!(said.starts_with("jwt_isuer: there is no"), "{said}");
    }

    #[test]
    fn passwords_go_where_they_are_checked_and_are_stored_nowhere() {
        let cas = "sasl_caspt_url: https://cas.univ.fr/cas\nsasl_sso_plain: yes\n";
        for option in ["sasl_auto_transition", "pop3_sasl_auto_transition"] {
            let conf = format!("{cas}sasl_saslauthd_path: /run/x/mux\n{option}: yes\n");
            let (said, status) = check(&conf);
            assert!(
                said.starts_with(&format!("{option}: would store")),
                "{said}"
            );
            assert_eq!(status, Status::Bad);
        }
        // What the plugin takes by PLAIN, libsasl2 does not see.
        assert_eq!(
            check(&format!("{cas}sasl_auto_transition: yes\n")).1,
            Status::Good
        );
        let (said, status) = check(&format!(
            "{cas}sasl_saslauthd_path: /run/x/mux\nsasl_sso_fallback_socket: /run/x//mux\n"
        ));
        assert!(
            said.starts_with("sasl_sso_fallback_socket: is the daemon's own"),
            "{said}"
        );
        assert_eq!(status, Status::Bad);
        let (said, _) = check("sasl_sso_plain: yes\n");
        assert!(
            said.starts_with("sasl_sso_plain: has no effect without"),
            "{said}"
        );
    }

    #[test]
    fn options_of_one_service_are_checked_as_well() {
        let (said, status) = check(
            "sasl_caspt_url: https://cas.univ.fr/cas\n\
             pop3_sasl_caspt_timeout: 5s\n\
             pop3_sasl_caspt_proxy: x\n",
        );
        assert!(said.starts_with("CASPT is offered\n"), "{said}");
        assert!(said.contains(" for pop3: sasl_caspt_proxy: "), "{said}");
        assert!(said.contains(" for pop3: sasl_caspt_timeout: "), "{said}");
        assert_eq!(status, Status::Bad);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_good_configuration() {
        let (mut console, _, _) = Console::of_test("");
        let status = run(&of(Path::new("/missing/imapd.conf")), &mut console);
        assert_eq!(status, Status::Unusable);
    }
}
