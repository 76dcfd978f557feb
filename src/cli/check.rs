//! `sasl-sso check`: is the configuration right, before the restart?

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::Path;

use super::Answer;
use super::imapd_conf::ImapdConf;
use crate::config::{Config, NAMES};
use crate::http;

pub(super) fn run(mut arguments: &[&str]) -> Answer {
    let mut file = "/etc/imapd.conf";
    let mut service = None;
    loop {
        match *arguments {
            [] => break,
            ["--config", value, ref rest @ ..] => (file, arguments) = (value, rest),
            ["--service", value, ref rest @ ..] => (service, arguments) = (Some(value), rest),
            [word, ..] => return Answer::unusable(format!("check: what is {word}?\n")),
        }
    }
    match check(file, service) {
        Ok(answer) => answer,
        Err(problem) => Answer::unusable(format!("{problem}\n")),
    }
}

/// Checks a file for one service or, if none is named, for those without options
/// of their own and for each that has some.
fn check(file: &str, service: Option<&str>) -> Result<Answer, String> {
    let path = Path::new(file);
    let conf = ImapdConf::read(path, service)?;
    let mut answer = judge(&conf, file);
    if service.is_none() {
        for service in conf.services() {
            let conf = ImapdConf::read(path, Some(service))?;
            let of_service = judge(&conf, &format!("{file} for {service}"));
            answer.out += &of_service.out;
            answer.status = answer.status.max(of_service.status);
        }
    }
    Ok(answer)
}

fn judge(conf: &ImapdConf, label: &str) -> Answer {
    let mut out = String::new();
    let mut complain = |line: &dyn std::fmt::Display| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{label}: {line}");
    };
    let mut faults = 0;
    for name in conf.sasl_names() {
        // The plugin asks for the names that it knows; it cannot see others.
        let ours = name.starts_with("caspt_") || name.starts_with("sso_");
        if ours && !NAMES.contains(&name) {
            faults += 1;
            complain(&format_args!("sasl_{name}: there is no such option"));
        }
    }
    match Config::read(conf) {
        Ok(config) if faults == 0 => {
            if let Some(Err(problem)) = ca_file(&config).map(http::check_roots) {
                faults += 1;
                complain(&format_args!("sasl_caspt_ca_file: {problem}"));
            }
            let offered = if faults > 0 {
                "CASPT would be offered, and no ticket could be validated"
            } else if config.cas.is_some() {
                "CASPT is offered"
            } else {
                "CASPT is not offered: sasl_caspt_url is not set"
            };
            complain(&offered);
        }
        Ok(_) => {}
        Err(found) => {
            faults += found.len();
            for fault in found {
                complain(&format_args!("sasl_{fault}"));
            }
        }
    }
    Answer {
        out,
        err: String::new(),
        status: u8::from(faults > 0),
    }
}

/// The CAs that the plugin will read with the first ticket, and not before.
fn ca_file(config: &Config) -> Option<&Path> {
    config.cas.as_ref()?.ca_file.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(conf: &str) -> (String, u8) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("imapd.conf");
        std::fs::write(&path, conf).unwrap();
        let answer = run(&["--config", path.to_str().unwrap()]);
        (
            answer.out.replace(&format!("{}: ", path.display()), ""),
            answer.status,
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
        assert_eq!(status, 1);
    }

    #[test]
    fn a_good_configuration_is_called_good() {
        let good = "sasl_caspt_url: https://cas.univ.fr/cas\n\
                    sasl_caspt_proxies: https://webmail.univ.fr/*\n";
        assert_eq!(check(good), ("CASPT is offered\n".to_owned(), 0));
        let (said, status) = check("configdirectory: /var/lib/cyrus\n");
        assert!(said.contains("not offered"), "{said}");
        assert_eq!(status, 0);
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
        assert_eq!(status, 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_good_configuration() {
        assert_eq!(run(&["--config", "/missing/imapd.conf"]).status, 2);
        assert_eq!(run(&["--confg", "x"]).status, 2);
    }
}
