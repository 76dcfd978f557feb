//! `sasl-sso check`: is the configuration right, before the restart?
//!
//! A plugin cannot see an option that was mistyped, for it asks for those that it
//! knows; nor is anything that it reads with the first credential looked at before.
//! This command does both.
//!
//! - `subject`: what is looked at, a file for a service
//! - `target`: which files, and which services
//! - `names`, `unread`: options that nobody reads
//! - `host`: options of the host that decide on whether it starts
//! - `risks`: what is dangerous though valid, and what cannot work
//! - `files`, `access`, `certificate`: CAs, keys, and the directory of the sessions
//! - `plugin_dir`: the plugin itself
//! - `cyrus_conf`: which services there are
//! - `daemon`: what keeps the daemon from serving
//! - `online`: what servers answer
//! - `finding`, `offer`: how all that is told
//!
//! # The document of `--json`
//!
//! One object. Members may be added; those that are there keep their meaning.
//!
//! - `file`: the file that was checked
//! - `status`: `good`, `warnings`, `faults`, or `unreadable`
//! - `findings`: what is worst first. Each has `severity` (`fault`, `warning`,
//!   `note`), `file`, `line` (or null), `option` as it is written there (or null),
//!   `service` (null if it is not of one service alone), `services` (those that it
//!   concerns; empty if it concerns all that read the file), `problem`, and `remedy`
//!   (empty if the problem says it)
//! - `offered`: for each file and service (null: those without options of their
//!   own) the `mechanisms` that are offered, and `tickets_for`, the service that
//!   tickets must have been issued for (null if none can come)
//! - `online`: with `--online`, each server asked: `kind` (`cas`, `issuer`), `url`,
//!   `service`, `answer`, `certificate` (`subject`, `issuer`, `days` left) or null;
//!   of CAS the `path` that it answered at; of an issuer its `keys`, each with
//!   `kid`, `kind`, `algorithms`, `problem`; `reason` if there was no answer

#![forbid(unsafe_code)]

pub(crate) mod access;
pub(crate) mod certificate;
pub(crate) mod context;
pub(crate) mod cyrus_conf;
pub(crate) mod daemon;
pub(crate) mod diagnostic;
pub(crate) mod files;
pub(crate) mod host_options;
pub(crate) mod offered_mechanisms;
pub(crate) mod online;
pub(crate) mod option_names;
pub(crate) mod plugin_dir;
pub(crate) mod risks;
pub(crate) mod targets;
pub(crate) mod unused_options;
pub(crate) mod user_names;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Status;
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, Flaw, Format, Place};
use crate::privileges::host_name;
use crate::term::console::{Console, plain};
use context::Subject;
use diagnostic::{Finding, Report, Severity};
use offered_mechanisms::{Offer, Offered};
use risks::{Context, Version};
use sso_core::config::{Config, ConfigError, Options};
use targets::{Target, check_service, find_cyrus_conf, of_sasl, targets};
use unused_options::{check_names, without_effect};

/// Is the configuration right, before the restart?
///
/// Reads the file as the mail server and the plugin will, for all services of
/// cyrus.conf, and names every fault at once, with its place and the remedy. It
/// changes nothing. Run it as root: it then sees whether the mail server's user can
/// read what it must. Exit status: 0 without fault (there may be warnings), 1 with
/// faults, 2 if a file cannot be read.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The services of the mail server [default: cyrus.conf beside the file]
    #[arg(long, value_name = "FILE")]
    cyrus_conf: Option<PathBuf>,
    /// Where libsasl2 looks for plugins [default: Debian's directory]
    #[arg(long, value_name = "DIR")]
    plugin_dir: Option<PathBuf>,
    /// The version of Cyrus [default: that of the package that dpkg has installed]
    #[arg(long, value_name = "VERSION")]
    cyrus_version: Option<Version>,
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

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Status {
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

/// For people. Without a cyrus.conf, the line without a service stands for all
/// services of which nothing else is said.
fn tell(report: &Report, console: &mut Console) {
    for line in report.lines() {
        console.line(line);
    }
    for (line, _) in &report.online {
        console.line(plain(line));
    }
    let is_some = |offer: &&Offer| offer.service.is_some();
    let of_file = |offer: &Offer| {
        let mut offers = report.offers.iter().filter(is_some);
        offers.any(|other| other.file == offer.file)
    };
    let is_told = |offer: &&Offer| is_some(offer) || !report.knows_services || !of_file(offer);
    let offers: Vec<Offer> = report.offers.iter().filter(is_told).cloned().collect();
    for line in offered_mechanisms::lines(&offers) {
        console.line(line);
    }
}

/// What was read of one file for one service.
pub(crate) struct Examined {
    target: Target,
    /// What SASL calls the service.
    of_sasl: &'static str,
    conf: ConfFile,
    flaws: Vec<Flaw>,
    config: Config,
    faults: Vec<ConfigError>,
}

impl Examined {
    fn read(target: Target) -> Result<Self, (Target, String)> {
        let (conf, flaws) = match ConfFile::examine(&target.file, target.service.as_deref()) {
            Ok(read) => read,
            Err(problem) => return Err((target, problem)),
        };
        let (config, faults) = Config::examine(&conf);
        Ok(Self {
            of_sasl: of_sasl(&target, &conf),
            target,
            conf,
            flaws,
            config,
            faults,
        })
    }
}

fn check_all(arguments: &Arguments, report: &mut Report) -> Result<(), String> {
    let main = &arguments.place.config;
    let (conf, _) = ConfFile::examine(main, None)?;
    let cyrus = find_cyrus_conf(arguments, &conf)?;
    if arguments.place.service.is_none() {
        daemon::check_services(report, main, &conf, cyrus.as_ref());
    }
    let targets = targets(arguments, &conf, cyrus.as_ref());
    let target = |target: &Target| (target.file.clone(), target.service.clone());
    report.targets = targets.iter().map(target).collect();
    report.knows_services = cyrus.is_some();
    if let Some(finding) = check_service(arguments, &conf, cyrus.as_ref()) {
        report.add(None, finding);
    }
    let mut all = Vec::new();
    let mut indexes = Vec::new();
    for (index, target) in targets.into_iter().enumerate() {
        match Examined::read(target) {
            Ok(examined) => {
                all.push(examined);
                indexes.push(index);
            }
            Err((target, problem)) => {
                let finding = Finding {
                    severity: Severity::Fault,
                    file: target.file,
                    line: None,
                    option: None,
                    problem,
                    remedy: "make it readable, or name another by -C in cyrus.conf".to_owned(),
                };
                report.add(Some(index), finding);
            }
        }
    }
    let version = arguments.cyrus_version.or_else(Version::installed);
    for (examined, target) in all.iter().zip(indexes) {
        let mut subject = Subject {
            path: &examined.target.file,
            conf: &examined.conf,
            service: examined.target.service.as_deref(),
            target,
            report,
        };
        let mechanisms = login_paths::configured(&examined.config);
        let context = Context {
            arguments,
            examined,
            all: &all,
            cyrus: cyrus.as_ref(),
            version,
            mechanisms: &mechanisms,
        };
        check(&mut subject, &context);
    }
    Ok(())
}

fn check(subject: &mut Subject<'_>, context: &Context<'_>) {
    let Context {
        arguments,
        examined,
        mechanisms,
        ..
    } = context;
    let (conf, config, faults) = (&examined.conf, &examined.config, &examined.faults);
    for flaw in &examined.flaws {
        subject
            .report
            .add(Some(subject.target), Finding::of_flaw(flaw));
    }
    host_options::check_imapd(subject);
    for fault in faults {
        subject.say_of_sasl(Severity::Fault, &fault.option, &fault.problem);
    }
    for warning in &config.warnings {
        subject.say_of_sasl(Severity::Warning, &warning.option, &warning.problem);
    }
    let is_refused = subject.report.faults_of(subject.target) > 0;
    // An option of a service that cyrus.conf lacks is told once, for the whole file.
    let is_main = examined.target.service.is_none();
    check_names(subject, context.cyrus.filter(|_| is_main));
    for (option, what) in without_effect(conf, config, subject.service) {
        subject.say(Severity::Fault, &option, what, "set it, or take this out");
    }
    // What is wrong with an option itself was said.
    let is_sound = |option: &str| context.is_sound(option);
    files::check(subject, config, &is_sound);
    if let Some(what) = conf
        .asks_itself(config)
        .filter(|_| is_sound("sso_fallback_socket"))
    {
        let what = what.split_once(": ").map_or(&*what, |(_, what)| what);
        subject.say_of_sasl(Severity::Fault, "sso_fallback_socket", what);
    }
    if is_sound("sso_fallback_socket") {
        daemon::check_fallback(subject, config);
    }
    if conf.get("saslauthd_path").is_some() {
        for option in conf.transitioning() {
            let what = "would store tickets and tokens as passwords";
            subject.say(Severity::Fault, &option, what, "take it out");
        }
    }
    if !mechanisms.is_empty() {
        user_names::check(subject, config);
    }
    host_options::check_offer(subject, config, mechanisms);
    risks::check(subject, context);
    let is_loaded =
        mechanisms.is_empty() || plugin_dir::check(subject, arguments.plugin_dir.as_deref());
    let offer = offer(subject, context, is_refused, is_loaded);
    subject.report.offers.push(offer);
    if arguments.online && faults.is_empty() {
        // Of others no user brings a ticket.
        let asks = ["imap", "pop", "sieve", "http", "smtp"].contains(&examined.of_sasl);
        if asks && let Ok(host) = host_name(conf) {
            online::check(subject, config, &[examined.of_sasl], &host);
        }
    }
}

/// What the service offers, after all that was found. `is_refused` says that imapd
/// does not start, or that the plugin offers nothing.
fn offer(subject: &Subject<'_>, context: &Context<'_>, is_refused: bool, is_loaded: bool) -> Offer {
    let Examined { conf, config, .. } = context.examined;
    let sasl = conf.format().prefix();
    let is_http = context.examined.of_sasl == "http";
    let listed = context.mechanisms.iter().copied();
    let listed: Vec<&str> = listed
        .filter(|name| login_paths::is_listed(conf, name))
        .collect();
    let has_tls = !subject.conf.is_complete() || !host_options::lacks_certificate(conf);
    let is_imapds = conf.format() == Format::Imapd;
    let reason = if is_refused {
        " as long as there are faults".to_owned()
    } else if context.mechanisms.is_empty() {
        format!(": neither {sasl}caspt_url nor {sasl}jwt_keys is set")
    } else if is_http {
        ": HTTP has none of these mechanisms".to_owned()
    } else if listed.is_empty() {
        format!(": {sasl}mech_list has none of it")
    } else if !is_loaded {
        ": libsasl2 does not find the plugin".to_owned()
    } else if is_imapds && !has_tls && !host_options::allows_clear_text(conf) {
        ": without tls_server_cert there is no TLS".to_owned()
    } else if risks::starttls_is_off(context.examined, context) {
        ": without allowstarttls there is no TLS".to_owned()
    } else {
        String::new()
    };
    let offered = match reason.is_empty() {
        false => Offered::No(reason),
        true if subject.report.faults_of(subject.target) > 0 => Offered::WithFaults,
        true => Offered::Yes,
    };
    let is_offered = !matches!(offered, Offered::No(_));
    let takes_tickets = !is_refused
        && (is_offered && listed.iter().any(|name| ["CASPT", "PLAIN"].contains(name))
            || login_paths::by_daemon(conf, config));
    let tickets_for = config
        .cas
        .as_ref()
        .filter(|_| takes_tickets)
        .and_then(|cas| {
            let host = host_name(conf).ok()?;
            Some(cas.service.name(context.examined.of_sasl, &host))
        });
    Offer {
        file: context.examined.target.file.clone(),
        service: context.examined.target.service.clone(),
        mechanisms: if is_offered { listed } else { Vec::new() },
        offered,
        tickets_for,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
