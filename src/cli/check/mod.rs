//! `sasl-sso check`: is the configuration right, before the restart?
//!
//! A plugin cannot see an option that was mistyped, for it asks for those that it
//! knows; nor is anything that it reads with the first credential looked at before.
//! This command does both.
//!
//! - `subject`: what is looked at, a file for a service
//! - `target`: which files, and which services
//! - `names`, `unread`: options that nobody reads
//! - `host`: options of the host that decide on what is offered
//! - `files`, `access`, `certificate`: CAs, keys, and the directory of the sessions
//! - `plugin_dir`: the plugin itself
//! - `cyrus_conf`: which services there are
//! - `online`: what servers answer
//! - `finding`: how all that is told
//!
//! # The document of `--json`
//!
//! One object. Members may be added; those that are there keep their meaning.
//!
//! - `file`: the file that was checked
//! - `status`: `good`, `warnings`, `faults`, or `unreadable`
//! - `findings`: what is worst first. Each has `severity` (`fault`, `warning`,
//!   `note`), `file`, `line` (or null), `option` as it is written there (or null),
//!   `service` (null if it is not of one service alone), `problem`, and `remedy`
//!   (empty if the problem says it)
//! - `offered`: for each file and service (null: those without options of their
//!   own) the `mechanisms` that the plugin offers, less those that mech_list lacks
//! - `online`: with `--online`, each server asked: `kind` (`cas`, `issuer`), `url`,
//!   `service`, `answer`, `certificate` (`subject`, `issuer`, `days` left) or null;
//!   of CAS the `path` that it answered at; of an issuer its `keys`, each with
//!   `kid`, `kind`, `algorithms`, `problem`; `reason` if there was no answer

#![forbid(unsafe_code)]

mod access;
mod certificate;
mod cyrus_conf;
mod files;
mod finding;
mod host;
mod names;
mod online;
mod plugin_dir;
mod subject;
mod target;
mod unread;
mod user_names;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Status;
use super::conf_file::{ConfFile, Place};
use super::console::{Console, plain};
use super::host::host_name;
use crate::config::{Config, Options};
use cyrus_conf::CyrusConf;
use finding::{Finding, Offer, Report, Severity};
use subject::Subject;
use target::{Target, find_cyrus_conf, of_sasl, targets};
use unread::{check_names, without_effect};

/// Is the configuration right, before the restart?
///
/// Reads the file as the mail server and the plugin will, for all services of
/// cyrus.conf, and names every fault at once, with its place and the remedy. It
/// changes nothing. Run it as root: it then sees whether the mail server's user can
/// read what it must. Exit status: 0 without fault (there may be warnings), 1 with
/// faults, 2 if a file cannot be read.
#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The services of the mail server [default: cyrus.conf beside the file]
    #[arg(long, value_name = "FILE")]
    cyrus_conf: Option<PathBuf>,
    /// Where libsasl2 looks for plugins [default: Debian's directory]
    #[arg(long, value_name = "DIR")]
    plugin_dir: Option<PathBuf>,
    /// Ask the servers, too: whether CAS answers and knows the service, and which
    /// keys issuers publish
    #[arg(long)]
    online: bool,
    /// Warnings count as faults
    #[arg(long)]
    strict: bool,
    /// The answer is one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    let mut report = Report::default();
    let file = &arguments.place.config;
    if let Err(problem) = check_all(arguments, &mut report) {
        match arguments.json {
            true => console.line(json!({
                "file": file.to_string_lossy(), "status": "unreadable", "findings": [],
                "offered": [], "online": [], "problem": problem,
            })),
            false => console.complain(problem),
        }
        return Status::Unusable;
    }
    report.sort();
    match arguments.json {
        true => console.line(report.json(file)),
        false => tell(&report, console),
    }
    let is_bad = report.count(Severity::Fault) > 0
        || arguments.strict && report.count(Severity::Warning) > 0;
    if is_bad { Status::Bad } else { Status::Good }
}

/// For people. What is offered is told of the services of which it is different.
fn tell(report: &Report, console: &mut Console) {
    for finding in &report.findings {
        console.line(finding);
    }
    for (line, _) in &report.online {
        console.line(plain(line));
    }
    let mut told: Vec<&Offer> = Vec::new();
    for offer in &report.offers {
        let is_told = |one: &&Offer| one.file == offer.file && one.mechanisms == offer.mechanisms;
        if !told.iter().any(is_told) {
            console.line(format_args!("{}: {offer}", offer.label()));
            told.push(offer);
        }
    }
}

fn check_all(arguments: &Arguments, report: &mut Report) -> Result<(), String> {
    let main = &arguments.place.config;
    let (conf, _) = ConfFile::examine(main, None)?;
    let services = find_cyrus_conf(arguments, &conf)?;
    for target in targets(arguments, &conf, services.as_ref()) {
        let of_cyrus = services.as_ref().filter(|_| target.service.is_none());
        match ConfFile::examine(&target.file, target.service.as_deref()) {
            Ok((conf, flaws)) => {
                for flaw in &flaws {
                    report.add(Finding::of_flaw(flaw));
                }
                let mut subject = Subject {
                    path: &target.file,
                    conf: &conf,
                    service: target.service.as_deref(),
                    report,
                };
                let has_flaws = flaws.iter().any(|flaw| flaw.is_fault);
                check(&mut subject, arguments, &target, of_cyrus, has_flaws);
            }
            Err(problem) => report.add(Finding {
                severity: Severity::Fault,
                file: target.file.clone(),
                line: None,
                option: None,
                service: target.service.clone(),
                problem,
                remedy: "make it readable, or name another by -C in cyrus.conf".to_owned(),
            }),
        }
    }
    Ok(())
}

fn check(
    subject: &mut Subject<'_>,
    arguments: &Arguments,
    target: &Target,
    cyrus: Option<&CyrusConf>,
    has_flaws: bool,
) {
    let conf = subject.conf;
    check_names(subject, cyrus);
    host::check_imapd(subject);
    let (config, faults) = Config::examine(conf);
    for fault in &faults {
        subject.say_of_sasl(Severity::Fault, &fault.option, &fault.problem);
    }
    let mechanisms = offered(&config);
    let is_refused = !faults.is_empty() || has_flaws;
    subject.report.offers.push(Offer {
        file: target.file.clone(),
        service: target.service.clone(),
        mechanisms: match is_refused {
            true => Vec::new(),
            false => host::listed(conf, &mechanisms),
        },
        sasl: conf.format().prefix(),
        is_refused,
        is_configured: !mechanisms.is_empty(),
    });
    for (option, what) in without_effect(conf, &config, subject.service) {
        subject.say(Severity::Fault, &option, what, "set it, or take this out");
    }
    // What is wrong with an option itself was said.
    let is_sound = |option: &str| !faults.iter().any(|fault| fault.option == option);
    files::check(subject, &config, &is_sound);
    if let Some(what) = conf
        .asks_itself(&config)
        .filter(|_| is_sound("sso_fallback_socket"))
    {
        let what = what.split_once(": ").map_or(&*what, |(_, what)| what);
        subject.say_of_sasl(Severity::Fault, "sso_fallback_socket", what);
    }
    if conf.get("saslauthd_path").is_some() {
        for option in conf.transitioning() {
            let what = "would store tickets and tokens as passwords";
            subject.say(Severity::Fault, &option, what, "take it out");
        }
    }
    if !mechanisms.is_empty() {
        user_names::check(subject, &config);
    }
    host::check_offer(subject, &config, &mechanisms);
    if !mechanisms.is_empty() {
        plugin_dir::check(subject, arguments.plugin_dir.as_deref());
    }
    if arguments.online && faults.is_empty() {
        let services = [target.of_sasl.unwrap_or_else(|| of_sasl(subject))];
        // Of others no user brings a ticket.
        let asks = ["imap", "pop", "sieve", "http", "smtp"].contains(&services[0]);
        if asks && let Ok(host) = host_name(conf) {
            online::check(subject, &config, &services, &host);
        }
    }
}

/// Which mechanisms the plugin will offer.
fn offered(config: &Config) -> Vec<&'static str> {
    let all = [
        ("CASPT", config.cas.is_some()),
        ("PLAIN", config.plain),
        ("OAUTHBEARER", config.jwt.is_some()),
        ("XOAUTH2", config.jwt.is_some()),
    ];
    let offered = all.into_iter().filter(|(_, is_offered)| *is_offered);
    offered.map(|(name, _)| name).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
