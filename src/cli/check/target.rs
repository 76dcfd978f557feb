//! Which files are looked at, and for which services.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::Arguments;
use super::cyrus_conf::CyrusConf;
use super::subject::Subject;
use crate::cli::conf_file::{ConfFile, Format};

/// One file for one service, and what SASL calls that service, if it is known.
pub(super) struct Target {
    pub(super) file: PathBuf,
    pub(super) service: Option<String>,
    pub(super) of_sasl: Option<&'static str>,
}

/// The one that was named, or the one beside an imapd.conf if there is one.
pub(super) fn find_cyrus_conf(
    arguments: &Arguments,
    conf: &ConfFile,
) -> Result<Option<CyrusConf>, String> {
    if let Some(path) = &arguments.cyrus_conf {
        return CyrusConf::read(path).map(Some);
    }
    let beside = arguments.place.config.with_file_name("cyrus.conf");
    match conf.format() == Format::Imapd && beside.is_file() {
        true => CyrusConf::read(&beside).map(Some),
        false => Ok(None),
    }
}

/// The file for who has no options of his own, for each service that has or that
/// cyrus.conf names, and the files that services have of their own.
pub(super) fn targets(
    arguments: &Arguments,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Vec<Target> {
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

/// What SASL calls a service that no cyrus.conf explains.
pub(super) fn of_sasl(subject: &Subject<'_>) -> &'static str {
    let service = subject.service.unwrap_or_default();
    let known = ["pop", "sieve", "http", "lmtp"];
    match known.into_iter().find(|name| service.starts_with(name)) {
        Some(name) => name,
        None if subject.conf.format() == Format::Sasl => "smtp",
        None => "imap",
    }
}
