//! `sasl-sso check`: checks the configuration before the mail server is restarted.
//!
//! The plugin cannot detect misspelled options, because it only requests the options it knows, and
//! it reads CAs and keys with the first credential only. This command checks both.
//!
//! - `context`: the file and service under check
//! - `targets`, `cyrus_conf`: the files and services to check
//! - `option_names`: options that no program reads
//! - `host_options`: options that decide whether the host application starts
//! - `risks`, `user_names`: valid options that are dangerous or cannot work
//! - `files`, `access`, `certificate`: CAs, keys, and the state directory
//! - `plugin_dir`: the plugin file
//! - `daemon`: faults that prevent the daemon from working
//! - `online`: the answers of servers
//! - `diagnostic`, `offered_mechanisms`: the report
//!
//! # The document of `--json`
//!
//! One object. Members may be added; existing members keep their meaning.
//!
//! - `file`: the file that was checked
//! - `status`: `good`, `warnings`, `faults`, or `unreadable`
//! - `findings`: the diagnostics, the worst first. Each has `severity` (`fault`, `warning`,
//!   `note`), `file`, `line` (or null), `option` as written there (or null), `service` (null unless
//!   exactly one service is affected), `services` (the affected services; empty if all services
//!   that read the file are affected), `problem`, and `remedy` (empty if the problem includes it)
//! - `offered`: for each file and service (null: services without options of their own) the
//!   `mechanisms` that are offered, and `tickets_for`, the service that tickets must be issued for
//!   (null if tickets are not accepted)
//! - `online`: with `--online`, each server: `kind` (`cas`, `issuer`), `url`, `service`, `answer`,
//!   `certificate` (`subject`, `issuer`, `days` left) or null; for CAS the `path` that it answered
//!   at; for an issuer its `keys`, each with `kid`, `kind`, `algorithms`, `problem`; `reason` if
//!   there was no answer

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
pub(crate) mod user_names;

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::ExitStatus;
use crate::imapd_conf::login_paths;
use crate::imapd_conf::{ConfFile, ConfigArgs, FileDiagnostic, Format};
use crate::privileges::host_name;
use crate::term::console::{Console, plain};
use context::CheckContext;
use diagnostic::{Diagnostic, Report, Severity};
use offered_mechanisms::{Offer, Offered};
use option_names::{check_names, without_effect};
use risks::{RiskInputs, Version};
use sso_core::config::{Config, ConfigError, Options};
use targets::{Target, check_service, find_cyrus_conf, sasl_service, targets};

/// Check the configuration, then restart Cyrus.
///
/// Reads the file as the mail server and the plugin do, for all services in cyrus.conf, and reports
/// all faults at once, each with its location and a remedy. The command changes nothing. Run it as
/// root, so that it can check which files the mail server's user may read. Exit status: 0 without
/// faults (there may be warnings), 1 with faults, 2 if a file cannot be read.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config_args: ConfigArgs,
    /// File with the services of the mail server [default: cyrus.conf beside the file]
    #[arg(long, value_name = "FILE")]
    cyrus_conf: Option<PathBuf>,
    /// Plugin directory of libsasl2 [default: Debian's directory]
    #[arg(long, value_name = "DIR")]
    plugin_dir: Option<PathBuf>,
    /// Version of Cyrus [default: that of the package installed by dpkg]
    #[arg(long, value_name = "VERSION")]
    cyrus_version: Option<Version>,
    /// Query the servers too: whether CAS answers and knows the service, and which keys issuers
    /// publish
    #[arg(long)]
    online: bool,
    /// Treat warnings as faults
    #[arg(long)]
    strict: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
    let mut report = Report::default();
    let file = &arguments.config_args.config;
    if let Err(problem) = check_all(arguments, &mut report) {
        match arguments.json {
            true => console.line(json!({
                "file": file.to_string_lossy(), "status": "unreadable", "findings": [],
                "offered": [], "online": [], "problem": problem,
            })),
            false => console.print_error(problem),
        }
        return ExitStatus::Error;
    }
    report.sort();
    match arguments.json {
        true => console.line(report.json(file)),
        false => print_report(&report, console),
    }
    let is_bad = report.count(Severity::Fault) > 0
        || arguments.strict && report.count(Severity::Warning) > 0;
    if is_bad {
        ExitStatus::Failure
    } else {
        ExitStatus::Success
    }
}

/// Prints the report for people. Without a cyrus.conf, the line without a service stands for all
/// services that have no line of their own.
fn print_report(report: &Report, console: &mut Console) {
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
    let is_printed = |offer: &&Offer| is_some(offer) || !report.knows_services || !of_file(offer);
    let offers: Vec<Offer> = report.offers.iter().filter(is_printed).cloned().collect();
    for line in offered_mechanisms::lines(&offers) {
        console.line(line);
    }
}

/// One file, read for one service.
pub(crate) struct Examined {
    target: Target,
    /// The SASL name of the service.
    sasl_service: &'static str,
    conf: ConfFile,
    file_diagnostics: Vec<FileDiagnostic>,
    config: Config,
    faults: Vec<ConfigError>,
}

impl Examined {
    fn read(target: Target) -> Result<Self, (Target, String)> {
        let (conf, file_diagnostics) =
            match ConfFile::examine(&target.file, target.service.as_deref()) {
                Ok(read) => read,
                Err(problem) => return Err((target, problem)),
            };
        let (config, faults) = Config::examine(&conf);
        Ok(Self {
            sasl_service: sasl_service(&target, &conf),
            target,
            conf,
            file_diagnostics,
            config,
            faults,
        })
    }
}

fn check_all(arguments: &Arguments, report: &mut Report) -> Result<(), String> {
    let main = &arguments.config_args.config;
    let (conf, _) = ConfFile::examine(main, None)?;
    let cyrus = find_cyrus_conf(arguments, &conf)?;
    if arguments.config_args.service.is_none() {
        daemon::check_services(report, main, &conf, cyrus.as_ref());
    }
    let targets = targets(arguments, &conf, cyrus.as_ref());
    let target = |target: &Target| (target.file.clone(), target.service.clone());
    report.targets = targets.iter().map(target).collect();
    report.knows_services = cyrus.is_some();
    if let Some(diagnostic) = check_service(arguments, &conf, cyrus.as_ref()) {
        report.add(None, diagnostic);
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
                let diagnostic = Diagnostic {
                    severity: Severity::Fault,
                    file: target.file,
                    line: None,
                    option: None,
                    problem,
                    remedy: "make it readable, or name another by -C in cyrus.conf".to_owned(),
                };
                report.add(Some(index), diagnostic);
            }
        }
    }
    let version = arguments.cyrus_version.or_else(Version::installed);
    for (examined, target) in all.iter().zip(indexes) {
        let mut context = CheckContext {
            path: &examined.target.file,
            conf: &examined.conf,
            service: examined.target.service.as_deref(),
            target,
            report,
        };
        let mechanisms = login_paths::configured(&examined.config);
        let inputs = RiskInputs {
            arguments,
            examined,
            all: &all,
            cyrus: cyrus.as_ref(),
            version,
            mechanisms: &mechanisms,
        };
        check(&mut context, &inputs);
    }
    Ok(())
}

fn check(context: &mut CheckContext<'_>, inputs: &RiskInputs<'_>) {
    let RiskInputs {
        arguments,
        examined,
        mechanisms,
        ..
    } = inputs;
    let (conf, config, faults) = (&examined.conf, &examined.config, &examined.faults);
    for diagnostic in &examined.file_diagnostics {
        context.report.add(
            Some(context.target),
            Diagnostic::of_file_diagnostic(diagnostic),
        );
    }
    host_options::check_imapd(context);
    for fault in faults {
        context.add_for_sasl(Severity::Fault, &fault.option, &fault.problem);
    }
    for warning in &config.warnings {
        context.add_for_sasl(Severity::Warning, &warning.option, &warning.problem);
    }
    let is_refused = context.report.faults_of(context.target) > 0;
    // Options of a service that is not in cyrus.conf are reported once, for the file.
    let is_main = examined.target.service.is_none();
    check_names(context, inputs.cyrus.filter(|_| is_main));
    for (option, what) in without_effect(conf, config, context.service) {
        context.add(Severity::Fault, &option, what, "set it, or take this out");
    }
    // Invalid values were reported above.
    let is_sound = |option: &str| inputs.is_sound(option);
    files::check(context, config, &is_sound);
    if let Some(what) = conf
        .fallback_loop(config)
        .filter(|_| is_sound("sso_fallback_socket"))
    {
        let what = what.split_once(": ").map_or(&*what, |(_, what)| what);
        context.add_for_sasl(Severity::Fault, "sso_fallback_socket", what);
    }
    if is_sound("sso_fallback_socket") {
        daemon::check_fallback(context, config);
    }
    if conf.get("saslauthd_path").is_some() {
        for option in conf.auto_transition_options() {
            let what = "would store tickets and tokens as passwords";
            context.add(Severity::Fault, &option, what, "take it out");
        }
    }
    if !mechanisms.is_empty() {
        user_names::check(context, config);
    }
    host_options::check_offer(context, config, mechanisms);
    risks::check(context, inputs);
    let is_loaded =
        mechanisms.is_empty() || plugin_dir::check(context, arguments.plugin_dir.as_deref());
    let offer = offer(context, inputs, is_refused, is_loaded);
    context.report.offers.push(offer);
    if arguments.online && faults.is_empty() {
        // Clients of other services do not use tickets.
        let is_probed = ["imap", "pop", "sieve", "http", "smtp"].contains(&examined.sasl_service);
        if is_probed && let Ok(host) = host_name(conf) {
            online::check(context, config, &[examined.sasl_service], &host);
        }
    }
}

/// What the service offers. `is_refused` is set if imapd does not start or the plugin offers
/// nothing.
fn offer(
    context: &CheckContext<'_>,
    inputs: &RiskInputs<'_>,
    is_refused: bool,
    is_loaded: bool,
) -> Offer {
    let Examined { conf, config, .. } = inputs.examined;
    let sasl = conf.format().prefix();
    let is_http = inputs.examined.sasl_service == "http";
    let listed = inputs.mechanisms.iter().copied();
    let listed: Vec<&str> = listed
        .filter(|name| login_paths::is_listed(conf, name))
        .collect();
    let has_tls = !context.conf.is_complete() || !host_options::lacks_certificate(conf);
    let is_imapds = conf.format() == Format::Imapd;
    let reason = if is_refused {
        " as long as there are faults".to_owned()
    } else if inputs.mechanisms.is_empty() {
        format!(": neither {sasl}caspt_url nor {sasl}jwt_keys is set")
    } else if is_http {
        ": HTTP has none of these mechanisms".to_owned()
    } else if listed.is_empty() {
        format!(": {sasl}mech_list has none of it")
    } else if !is_loaded {
        ": libsasl2 does not find the plugin".to_owned()
    } else if is_imapds && !has_tls && !host_options::allows_clear_text(conf) {
        ": without tls_server_cert there is no TLS".to_owned()
    } else if risks::starttls_is_off(inputs.examined, inputs) {
        ": without allowstarttls there is no TLS".to_owned()
    } else {
        String::new()
    };
    let offered = match reason.is_empty() {
        false => Offered::No(reason),
        true if context.report.faults_of(context.target) > 0 => Offered::WithFaults,
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
            Some(cas.service.name(inputs.examined.sasl_service, &host))
        });
    Offer {
        file: inputs.examined.target.file.clone(),
        service: inputs.examined.target.service.clone(),
        mechanisms: if is_offered { listed } else { Vec::new() },
        offered,
        tickets_for,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
