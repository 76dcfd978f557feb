//! Faults that prevent the daemon (`sasl-sso serve`) from working as configured: options of single
//! services that it cannot distinguish, and a fallback saslauthd that cannot be trusted with
//! passwords.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::unistd::{Uid, User};

use super::context::CheckContext;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::{Diagnostic, Report, Severity, file_and_line};
use crate::daemon::Fallback;
use crate::imapd_conf::service_options;
use crate::imapd_conf::service_options::Conflict;
use crate::imapd_conf::{ConfFile, Format};
use crate::privileges::fallback_of;
use sso_core::config::{Config, Options};

/// The default socket of Debian's saslauthd and of libsasl2.
const STOCK_SOCKETS: [&str; 2] = ["/run/saslauthd/mux", "/var/run/saslauthd/mux"];

/// Checks the options of single services if the daemon is in use. Without it, options may differ
/// freely.
pub(crate) fn check_services(
    report: &mut Report,
    main: &Path,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) {
    let socket = conf.get("saslauthd_path");
    let is_daemon_socket = |path: &String| !STOCK_SOCKETS.contains(&path.as_str());
    if !socket.as_ref().is_some_and(is_daemon_socket) && conf.get("sso_fallback_socket").is_none() {
        return;
    }
    // Without cyrus.conf the file may be only a part of a configuration.
    let severity = match cyrus {
        Some(_) => Severity::Fault,
        None => Severity::Warning,
    };
    for problem in service_options::unknown_entries(conf, cyrus) {
        add(report, severity, (main, conf), &problem);
    }
    // A file that cannot be read is reported elsewhere.
    let entries = service_options::entries(main, conf, cyrus).unwrap_or_default();
    for problem in service_options::other_session_caches(conf, &entries) {
        add(report, Severity::Fault, (main, conf), &problem);
    }
    for conflict in service_options::conflicts(&entries) {
        let (file, line) = file_and_line(conflict.location.as_ref(), main);
        report.add(
            None,
            Diagnostic {
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

/// Adds a diagnostic from text in the form `option: problem; remedy`.
fn add(report: &mut Report, severity: Severity, (main, conf): (&Path, &ConfFile), what: &str) {
    let (option, what) = what.split_once(": ").unwrap_or(("", what));
    let (problem, remedy) = what.rsplit_once("; ").unwrap_or((what, ""));
    let (file, line) = file_and_line(conf.location(option), main);
    report.add(
        None,
        Diagnostic {
            severity,
            file,
            line,
            option: Some(option.to_owned()),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        },
    );
}

/// Checks whether the daemon can trust the fallback saslauthd with passwords.
pub(crate) fn check_fallback(context: &mut CheckContext<'_>, config: &Config) {
    let conf = context.conf;
    let fallback = match fallback_of(conf, config) {
        Ok(Some(fallback)) => fallback,
        Ok(None) => {
            if conf.get("sso_fallback_user").is_some() {
                let what = "has no effect without sso_fallback_socket; set it, or take this out";
                context.add_for_sasl(Severity::Warning, "sso_fallback_user", what);
            }
            return;
        }
        Err(problem) => {
            let what = problem.split_once(": ").map_or(&*problem, |(_, what)| what);
            return context.add_for_sasl(Severity::Fault, "sso_fallback_user", what);
        }
    };
    if !fallback.user.is_root() {
        let what = "is not known to the daemon in its unit, which has PrivateUsers=yes; set \
                    PrivateUsers=identity, or no, by systemctl edit sasl-sso.service";
        context.add_for_sasl(Severity::Note, "sso_fallback_user", what);
    }
    let (severity, what) = match check_trust(&fallback, user_of_daemon(conf)) {
        Ok(()) => return,
        Err(found) => found,
    };
    context.add_for_sasl(severity, "sso_fallback_socket", &what);
}

/// The user that the daemon runs as, if the file determines it.
fn user_of_daemon(conf: &ConfFile) -> Option<Uid> {
    if conf.format() == Format::Sasl {
        return None;
    }
    let name = conf.host_option("cyrus_user").unwrap_or("cyrus");
    Some(User::from_name(name).ok()??.uid)
}

fn check_trust(fallback: &Fallback, daemon: Option<Uid>) -> Result<(), (Severity, String)> {
    let path = fallback.path.display();
    let stream = match UnixStream::connect(&fallback.path) {
        Ok(stream) => Some(stream),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let what = format!("{path} is not there, so ordinary passwords fail; start saslauthd");
            return Err((Severity::Note, what));
        }
        // No process listens, or this process may not connect.
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
