//! What keeps the daemon (`sasl-sso serve`) from serving as the file says: options of
//! single services that it cannot tell apart, and a saslauthd behind it that it does not
//! trust with passwords.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::{Uid, User};

use super::context::Subject;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::{Finding, Report, Severity, place};
use crate::daemon::Fallback;
use crate::imapd_conf::service_options;
use crate::imapd_conf::service_options::Conflict;
use crate::imapd_conf::{ConfFile, Format};
use crate::privileges::fallback_of;
use sso_core::config::{Config, Options};

/// Where Debian's own saslauthd and libsasl2 have its socket.
const STOCK_SOCKETS: [&str; 2] = ["/run/saslauthd/mux", "/var/run/saslauthd/mux"];

/// Checks the options of single services, if the daemon is in use: without it they may
/// differ as they like.
pub(crate) fn check_services(
    report: &mut Report,
    main: &Path,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) {
    let socket = conf.get("saslauthd_path");
    let is_ours = |path: &String| !STOCK_SOCKETS.contains(&path.as_str());
    if !socket.as_ref().is_some_and(is_ours) && conf.get("sso_fallback_socket").is_none() {
        return;
    }
    // Without cyrus.conf it may be but a part of a configuration.
    let severity = match cyrus {
        Some(_) => Severity::Fault,
        None => Severity::Warning,
    };
    for problem in service_options::unknown_entries(conf, cyrus) {
        add(report, severity, (main, conf), &problem);
    }
    // A file that cannot be read was named.
    let entries = service_options::entries(main, conf, cyrus).unwrap_or_default();
    for problem in service_options::other_stores(conf, &entries) {
        add(report, Severity::Fault, (main, conf), &problem);
    }
    for conflict in service_options::conflicts(&entries) {
        let (file, line) = place(conflict.spot.as_ref(), main);
        report.add(
            None,
            Finding {
                severity: Severity::Fault,
                file,
                line,
                option: conflict.options.first().cloned(),
                problem: conflict.problem(),
                remedy: Conflict::REMEDY.to_owned(),
            },
        );
    }
}

/// Adds what is told as `option: problem; remedy`.
fn add(report: &mut Report, severity: Severity, (main, conf): (&Path, &ConfFile), what: &str) {
    let (option, what) = what.split_once(": ").unwrap_or(("", what));
    let (problem, remedy) = what.rsplit_once("; ").unwrap_or((what, ""));
    let (file, line) = place(conf.spot(option), main);
    report.add(
        None,
        Finding {
            severity,
            file,
            line,
            option: Some(option.to_owned()),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        },
    );
}

/// Checks whether the daemon would trust the saslauthd behind it with passwords.
pub(crate) fn check_fallback(subject: &mut Subject<'_>, config: &Config) {
    let conf = subject.conf;
    let fallback = match fallback_of(conf, config) {
        Ok(Some(fallback)) => fallback,
        Ok(None) => {
            if conf.get("sso_fallback_user").is_some() {
                let what = "has no effect without sso_fallback_socket; set it, or take this out";
                subject.say_of_sasl(Severity::Warning, "sso_fallback_user", what);
            }
            return;
        }
        Err(problem) => {
            let what = problem.split_once(": ").map_or(&*problem, |(_, what)| what);
            return subject.say_of_sasl(Severity::Fault, "sso_fallback_user", what);
        }
    };
    if !fallback.user.is_root() {
        let what = "is not known to the daemon in its unit, which has PrivateUsers=yes; set \
                    PrivateUsers=identity, or no, by systemctl edit sasl-sso.service";
        subject.say_of_sasl(Severity::Note, "sso_fallback_user", what);
    }
    let (severity, what) = match judge(&fallback, user_of_daemon(conf)) {
        Ok(()) => return,
        Err(found) => found,
    };
    subject.say_of_sasl(severity, "sso_fallback_socket", &what);
}

/// As whom the daemon runs, if the file says it.
fn user_of_daemon(conf: &ConfFile) -> Option<Uid> {
    if conf.format() == Format::Sasl {
        return None;
    }
    let name = conf.of_host("cyrus_user").unwrap_or("cyrus");
    Some(User::from_name(name).ok()??.uid)
}

fn judge(fallback: &Fallback, daemon: Option<Uid>) -> Result<(), (Severity, String)> {
    let path = fallback.path.display();
    let stream = match UnixStream::connect(&fallback.path) {
        Ok(stream) => Some(stream),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = format!("{path} is not there, so ordinary passwords fail; start saslauthd");
            return Err((Severity::Note, what));
        }
        // Nobody listens, or we may not ask.
        Err(_) => None,
    };
    let fault = |what| (Severity::Fault, what);
    fallback.check_path_to(daemon).map_err(fault)?;
    match stream {
        Some(stream) => fallback.check_peer(&stream).map_err(fault),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "daemon_tests.rs"]
mod tests;
