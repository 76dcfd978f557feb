//! Which files are looked at, and for which services.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::Arguments;
use super::cyrus_conf::CyrusConf;
use super::diagnostic::{Finding, Severity};
use super::option_names::nearest_of;
use crate::daemon::same_file;
use crate::imapd_conf::service_options;
use crate::imapd_conf::{ConfFile, Format};

/// One file for one service, and what cyrus.conf says of that service, if it is
/// known.
pub(crate) struct Target {
    pub(crate) file: PathBuf,
    pub(crate) service: Option<String>,
    /// What SASL calls it.
    pub(crate) of_sasl: Option<&'static str>,
    /// Whether its connections begin with TLS.
    pub(crate) is_tls: bool,
}

/// The one that was named, or the one beside an imapd.conf if there is one.
pub(crate) fn find_cyrus_conf(
    arguments: &Arguments,
    conf: &ConfFile,
) -> Result<Option<CyrusConf>, String> {
    let named = arguments.cyrus_conf.as_deref();
    service_options::find_cyrus_conf(named, &arguments.place.config, conf.format())
}

/// The file for who has no options of his own, for each service that has or that
/// cyrus.conf names, and the files that services have of their own.
pub(crate) fn targets(
    arguments: &Arguments,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Vec<Target> {
    let main = &arguments.place.config;
    let target = |file: &Path, service: Option<&str>| {
        let service = service.map(str::to_ascii_lowercase);
        let mut services = cyrus.iter().flat_map(|cyrus| &cyrus.services);
        let known = services.find(|one| Some(&one.name) == service.as_ref());
        Target {
            file: file.to_owned(),
            of_sasl: known.map(|known| known.of_sasl),
            is_tls: known.is_some_and(|known| known.is_tls),
            service,
        }
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

/// What is wrong with `--service`: the options that would be checked, and called
/// good, are read by nobody.
pub(crate) fn check_service(
    arguments: &Arguments,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Option<Finding> {
    let service = arguments.place.service.as_ref()?.to_ascii_lowercase();
    let main = &arguments.place.config;
    let known = cyrus.and_then(|cyrus| cyrus.services.iter().find(|one| one.name == service));
    let own_file = known.and_then(|known| known.config.as_deref());
    let (problem, remedy) = match (cyrus, own_file) {
        _ if conf.format() == Format::Sasl => (
            "a file of SASL itself has no options of single services".to_owned(),
            "leave --service out".to_owned(),
        ),
        (Some(cyrus), _) if !cyrus.has(&service) => (
            format!("cyrus.conf has no service {service}"),
            match nearest_of(&service, cyrus.names()) {
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
    Some(Finding {
        severity: Severity::Fault,
        file: main.clone(),
        line: None,
        option: None,
        problem,
        remedy,
    })
}

/// What SASL calls a service that no cyrus.conf explains.
pub(crate) fn of_sasl(target: &Target, conf: &ConfFile) -> &'static str {
    if let Some(known) = target.of_sasl {
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
