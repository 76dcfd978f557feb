//! `sasl-sso check`: is the configuration right, before the restart?
//!
//! A plugin cannot see an option that was mistyped, for it asks for those that it
//! knows; nor is anything that it reads with the first credential looked at before.
//! This command does both.
//!
//! - `subject`: what is looked at, a file for a service
//! - `names`: options that nobody reads
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
//!   own) the `mechanisms` that the plugin offers
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

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Status;
use super::conf_file::{ConfFile, Format, Place};
use super::console::Console;
use super::host::host_name;
use crate::config::{Config, Options};
use cyrus_conf::CyrusConf;
use finding::{Finding, Offer, Report, Severity};
use subject::Subject;

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
        console.line(line);
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

/// One file for one service, and what SASL calls that service, if it is known.
struct Target {
    file: PathBuf,
    service: Option<String>,
    of_sasl: Option<&'static str>,
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
                check(&mut subject, arguments, &target, of_cyrus);
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

/// The one that was named, or the one beside an imapd.conf if there is one.
fn find_cyrus_conf(arguments: &Arguments, conf: &ConfFile) -> Result<Option<CyrusConf>, String> {
    if let Some(path) = &arguments.cyrus_conf {
        return CyrusConf::read(path).map(Some);
    }
    let beside = arguments.place.config.with_file_name("cyrus.conf");
    match conf.format() == Format::Imapd && beside.is_file() {
        true => CyrusConf::read(&beside).map(Some),
        false => Ok(None),
    }
}

fn targets(arguments: &Arguments, conf: &ConfFile, cyrus: Option<&CyrusConf>) -> Vec<Target> {
    let main = &arguments.place.config;
    let target = |file: &Path, service: Option<&str>| Target {
        file: file.to_owned(),
        service: service.map(str::to_ascii_lowercase),
        of_sasl: service.and_then(|service| {
            let known = cyrus?.services.iter().find(|one| one.name == service)?;
            Some(known.of_sasl)
        }),
    };
    let mut targets = vec![target(main, arguments.place.service.as_deref())];
    if arguments.place.service.is_some() {
        return targets;
    }
    let services = cyrus.map_or(&[][..], |cyrus| &cyrus.services);
    // Those that name this file, or else those that name none.
    let named = services
        .iter()
        .any(|one| one.config.as_deref() == Some(main));
    let reads_main = |config: Option<&Path>| match named {
        true => config == Some(main),
        false => config.is_none(),
    };
    let mut names = conf.services();
    for service in services {
        if reads_main(service.config.as_deref()) {
            names.insert(&service.name);
        }
    }
    targets.extend(names.iter().map(|name| target(main, Some(name))));
    for service in services {
        if let Some(config) = &service.config
            && !named
        {
            targets.push(target(config, Some(&service.name)));
        }
    }
    targets
}

fn check(
    subject: &mut Subject<'_>,
    arguments: &Arguments,
    target: &Target,
    cyrus: Option<&CyrusConf>,
) {
    let conf = subject.conf;
    check_names(subject, cyrus);
    host::check_imapd(subject);
    let config = Config::read(conf);
    if let Err(faults) = &config {
        for fault in faults {
            subject.say_of_sasl(Severity::Fault, &fault.option, &fault.problem);
        }
    }
    let mechanisms = config.as_ref().map_or(Vec::new(), offered);
    subject.report.offers.push(Offer {
        file: target.file.clone(),
        service: target.service.clone(),
        mechanisms: mechanisms.clone(),
        sasl: conf.format().prefix(),
        is_refused: config.is_err(),
    });
    let Ok(config) = config else {
        return;
    };
    for (option, what) in without_effect(conf, &config, subject.service) {
        subject.say(Severity::Fault, &option, what, "set it, or take this out");
    }
    files::check(subject, &config);
    if let Some(what) = conf.asks_itself(&config) {
        let what = what.split_once(": ").map_or(&*what, |(_, what)| what);
        subject.say_of_sasl(Severity::Fault, "sso_fallback_socket", what);
    }
    if conf.get("saslauthd_path").is_some() {
        for option in conf.transitioning() {
            let what = "would store tickets and tokens as passwords";
            subject.say(Severity::Fault, &option, what, "take it out");
        }
    }
    host::check_offer(subject, &config, &mechanisms);
    if !mechanisms.is_empty() {
        plugin_dir::check(subject, arguments.plugin_dir.as_deref());
    }
    if arguments.online {
        let services = [target.of_sasl.unwrap_or_else(|| of_sasl(subject))];
        // Of others no user brings a ticket.
        let asks = ["imap", "pop", "sieve", "http", "smtp"].contains(&services[0]);
        if asks && let Ok(host) = host_name(conf) {
            online::check(subject, &config, &services, &host);
        }
    }
}

/// What SASL calls a service that no cyrus.conf explains.
fn of_sasl(subject: &Subject<'_>) -> &'static str {
    let service = subject.service.unwrap_or_default();
    let known = ["pop", "sieve", "http", "lmtp"];
    match known.into_iter().find(|name| service.starts_with(name)) {
        Some(name) => name,
        None if subject.conf.format() == Format::Sasl => "smtp",
        None => "imap",
    }
}

/// Options that nobody reads. Those of a service are looked at for that service,
/// and those of none once.
fn check_names(subject: &mut Subject<'_>, cyrus: Option<&CyrusConf>) {
    let conf = subject.conf;
    for name in conf.names() {
        let (service, option) = match name.split_once("_sasl_") {
            // imapd has some of its own with that in them.
            Some((service, _)) if names::type_in_imapd(name).is_none() => {
                (Some(service), &name[service.len() + 1..])
            }
            _ => (None, name),
        };
        if service.is_some() && service == subject.service || service.is_none() {
            if let Some(unread) = names::unread(conf, option) {
                let severity = match unread.is_ours {
                    true => Severity::Fault,
                    false => Severity::Warning,
                };
                subject.say(severity, name, unread.problem, unread.remedy);
            }
        } else if let (Some(service), Some(cyrus)) = (service, cyrus)
            && !cyrus.has(service)
        {
            let what = format!("is read by nobody: cyrus.conf has no service {service}");
            let remedy = match names::nearest_of(service, cyrus.names()) {
                Some(near) => format!("is {near} meant?"),
                None => "take it out, or name one that is there".to_owned(),
            };
            subject.say(Severity::Warning, name, what, remedy);
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

/// Options of a mechanism that is not configured: the plugin keeps silent about
/// them, for it is loaded by programs that have nothing to do with it.
fn without_effect(
    conf: &ConfFile,
    config: &Config,
    service: Option<&str>,
) -> Vec<(String, String)> {
    let sasl = conf.format().prefix();
    let mut problems = Vec::new();
    for (prefix, is_configured, missing) in [
        ("caspt_", config.cas.is_some(), &["caspt_url"][..]),
        ("jwt_", config.jwt.is_some(), &["jwt_keys", "jwt_issuers"]),
        (
            "sso_",
            config.cas.is_some() || config.jwt.is_some(),
            &["caspt_url", "jwt_keys", "jwt_issuers"],
        ),
    ] {
        // A service may have what all others lack.
        let of_some = |name: &str| {
            missing
                .iter()
                .any(|one| name.ends_with(&format!("_{sasl}{one}")))
        };
        if is_configured || conf.names().any(of_some) {
            continue;
        }
        let mut names = conf.sasl_names().filter(|name| name.starts_with(prefix));
        if let Some(option) = names.next().map(|name| conf.written(name))
            && service.is_none_or(|service| option.starts_with(service))
        {
            let needed: Vec<String> = missing.iter().map(|one| format!("{sasl}{one}")).collect();
            problems.push((
                option,
                format!("has no effect without {}", needed.join(" or ")),
            ));
        }
    }
    problems
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
