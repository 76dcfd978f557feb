//! Determines the files and services to check.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::Arguments;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::{Diagnostic, Severity};
use super::option_names::suggest;
use crate::daemon::same_file;
use crate::imapd_conf::service_options;
use crate::imapd_conf::{ConfFile, Format};

/// A file and a service. What cyrus.conf says about the service is included.
pub(crate) struct Target {
    pub(crate) file: PathBuf,
    pub(crate) service: Option<String>,
    /// The SASL name of the service, if known.
    pub(crate) sasl_service: Option<&'static str>,
    /// Whether the service uses implicit TLS.
    pub(crate) is_tls: bool,
}

/// The cyrus.conf of the command line, or the one beside imapd.conf, if it exists.
pub(crate) fn find_cyrus_conf(
    arguments: &Arguments,
    conf: &ConfFile,
) -> Result<Option<CyrusConf>, String> {
    let named = arguments.cyrus_conf.as_deref();
    service_options::find_cyrus_conf(named, &arguments.config_args.config, conf.format())
}

/// The targets: the file for services without options of their own; the file for each service that
/// has such options or is in cyrus.conf; and the files that single services read instead.
pub(crate) fn targets(
    arguments: &Arguments,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Vec<Target> {
    let main = &arguments.config_args.config;
    let target = |file: &Path, service: Option<&str>| {
        let service = service.map(str::to_ascii_lowercase);
        let mut services = cyrus.iter().flat_map(|cyrus| &cyrus.services);
        let known = services.find(|one| Some(&one.name) == service.as_ref());
        Target {
            file: file.to_owned(),
            sasl_service: known.map(|known| known.sasl_service),
            is_tls: known.is_some_and(|known| known.is_tls),
            service,
        }
    };
    let mut targets = vec![target(main, arguments.config_args.service.as_deref())];
    if arguments.config_args.service.is_some() {
        return targets;
    }
    let services = cyrus.map_or(&[][..], |cyrus| &cyrus.services);
    // Services that name this file; if there are none, services that name no file.
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

/// Checks `--service`: a wrong name would make the command check options that no service reads.
pub(crate) fn check_service(
    arguments: &Arguments,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Option<Diagnostic> {
    let service = arguments.config_args.service.as_ref()?.to_ascii_lowercase();
    let main = &arguments.config_args.config;
    let known = cyrus.and_then(|cyrus| cyrus.services.iter().find(|one| one.name == service));
    let own_file = known.and_then(|known| known.config.as_deref());
    let (problem, remedy) = match (cyrus, own_file) {
        _ if conf.format() == Format::Sasl => (
            "a file of SASL itself has no options of single services".to_owned(),
            "leave --service out".to_owned(),
        ),
        (Some(cyrus), _) if !cyrus.has(&service) => (
            format!("cyrus.conf has no service {service}"),
            match suggest(&service, cyrus.names()) {
                Some(near) => format!("is {near} meant?"),
                None => "name one that is there".to_owned(),
            },
        ),
        (_, Some(file)) if !same_file(file, main) => (
            format!("the service {service} reads another file"),
            format!("check {} by --config", file.display()),
        ),
        _ => return None,
    };
    Some(Diagnostic {
        severity: Severity::Fault,
        file: main.clone(),
        line: None,
        option: None,
        problem,
        remedy,
    })
}

/// The SASL name of a service, guessed from its name if cyrus.conf does not list it.
pub(crate) fn sasl_service(target: &Target, conf: &ConfFile) -> &'static str {
    if let Some(known) = target.sasl_service {
        return known;
    }
    let service = target.service.as_deref().unwrap_or_default();
    let known = ["pop", "sieve", "http", "lmtp", "nntp"];
    match known.into_iter().find(|name| service.starts_with(name)) {
        Some(name) => name,
        None if conf.format() == Format::Sasl => "smtp",
        None => "imap",
    }
}
