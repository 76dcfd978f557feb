//! Options of single services, for the daemon. A request contains the SASL name of the service
//! (`imap`, `pop`), not the name of its entry in cyrus.conf. So the entries with the same SASL name
//! that use the daemon must have the same options.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{ConfFile, Format, Location};
use crate::commands::check::cyrus_conf::CyrusConf;
use crate::daemon::same_file;
use sso_core::config::{DefaultValue, OPTIONS, Options, is_option};

/// imapd's options that affect the daemon: the canonicalization of user names, and the host name in
/// ticket services.
const HOST_OPTIONS: [&str; 7] = [
    "servername",
    "username_tolower",
    "virtdomains",
    "defaultdomain",
    "loginrealms",
    "auth_mech",
    "imapmagicplus",
];

/// An entry of cyrus.conf whose processes use the daemon.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The SASL name of the service.
    pub(crate) sasl_service: &'static str,
    /// The configuration file, read for this service.
    pub(crate) conf: ConfFile,
}

/// Two entries with different options that the daemon cannot distinguish.
pub(crate) struct Conflict {
    pub(crate) sasl_service: &'static str,
    pub(crate) entries: [String; 2],
    /// The names of the options, as the second entry's file has or would have them.
    pub(crate) options: Vec<String>,
    /// The location of one of these options.
    pub(crate) location: Option<Location>,
}

impl Conflict {
    pub(crate) const REMEDY: &str = "give both the same options, or have only one of them ask the \
                                     daemon (saslauthd_path)";

    /// The problem, without the remedy.
    pub(crate) fn problem(&self) -> String {
        let [one, other] = &self.entries;
        let (sasl_service, options) = (self.sasl_service, self.options.join(", "));
        format!(
            "the entries {one} and {other} of cyrus.conf are both {sasl_service} to SASL, so the daemon \
             cannot tell them apart, but they differ in {options}"
        )
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = self.options.first().map_or("", String::as_str);
        write!(f, "{option}: {}; {}", self.problem(), Self::REMEDY)
    }
}

/// Reads the given cyrus.conf, or the one beside imapd.conf, if it exists.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn find_cyrus_conf(
    named: Option<&Path>,
    main: &Path,
    format: Format,
) -> Result<Option<CyrusConf>, String> {
    if let Some(path) = named {
        return CyrusConf::read(path).map(Some);
    }
    let beside = main.with_file_name("cyrus.conf");
    match format == Format::Imapd && beside.is_file() {
        true => CyrusConf::read(&beside).map(Some),
        false => Ok(None),
    }
}

/// The entries of cyrus.conf that use the daemon which reads `conf` from the path `main`.
///
/// # Errors
/// All files that cannot be read.
pub(crate) fn entries(
    main: &Path,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Result<Vec<Entry>, Vec<String>> {
    let services = cyrus.map_or(&[][..], |cyrus| &cyrus.services);
    // If an entry names this file, entries that name no file read the default one.
    let is_named = services
        .iter()
        .any(|one| one.config.as_deref() == Some(main));
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    for service in services {
        let file = match &service.config {
            Some(file) => file,
            None if is_named => continue,
            None => main,
        };
        match ConfFile::read(file, Some(&service.name)) {
            Ok(own) if asks_same_daemon(&own, conf) => entries.push(Entry {
                name: service.name.clone(),
                sasl_service: service.sasl_service,
                conf: own,
            }),
            Ok(_) => {}
            Err(problem) => faults.push(problem),
        }
    }
    match faults.is_empty() {
        true => Ok(entries),
        false => Err(faults),
    }
}

/// The faults of entries that have their own options in `conf`, but whose SASL name is unknown.
pub(crate) fn unknown_entries(conf: &ConfFile, cyrus: Option<&CyrusConf>) -> Vec<String> {
    let names = conf.services().into_iter();
    names.filter_map(|name| unknown(name, cyrus)).collect()
}

fn unknown(name: &str, cyrus: Option<&CyrusConf>) -> Option<String> {
    let Some(cyrus) = cyrus else {
        return Some(format!(
            "{name}_sasl_…: which service has these options is said by cyrus.conf, and none is \
             beside the file; name it by --cyrus-conf"
        ));
    };
    let is_known = cyrus.services.iter().any(|service| service.name == name);
    // No process reads options with a prefix that is not in cyrus.conf.
    (!is_known && cyrus.has(name)).then(|| {
        format!(
            "{name}_sasl_…: it is not known what the program of this entry of cyrus.conf calls \
             itself to SASL; have the entry start a program of Cyrus by its own name"
        )
    })
}

/// Whether an entry uses the same saslauthd as the daemon's own file names, and uses saslauthd for
/// passwords if that file does.
fn asks_same_daemon(entry: &ConfFile, general: &ConfFile) -> bool {
    let path = |conf: &ConfFile| conf.get("saslauthd_path");
    let is_same_path = match (path(entry), path(general)) {
        (Some(own), Some(ours)) => own == ours || same_file(own.as_ref(), ours.as_ref()),
        (None, Some(_)) => false,
        // The socket of the daemon is set by the command line or by systemd.
        (_, None) => true,
    };
    let method = entry.get("pwcheck_method").unwrap_or_default();
    let asks = method.split_whitespace().any(|word| word == "saslauthd")
        || general.get("pwcheck_method").unwrap_or_default() == method;
    is_same_path && asks
}

/// The options of `conf` that affect the daemon's decisions, by their own names, with normalized
/// white space.
fn effective_options(conf: &ConfFile) -> BTreeMap<String, String> {
    let defaults = OPTIONS.iter().filter_map(|option| match option.default {
        DefaultValue::Is(value) => Some((option.name.to_owned(), value.to_owned())),
        DefaultValue::Means(_) => None,
    });
    let mut all: BTreeMap<String, String> = defaults.collect();
    for name in conf.sasl_names().filter(|name| is_option(conf, name)) {
        all.extend(conf.get(name).map(|value| (name.to_owned(), value)));
    }
    // Only the plugin uses this option.
    all.remove("sso_plain");
    for name in HOST_OPTIONS {
        let value = conf.host_option(name).map(str::to_owned);
        all.extend(value.map(|value| (name.to_owned(), value)));
    }
    for value in all.values_mut() {
        *value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    all
}

/// The names of the options that differ, as the second file has or would have them.
fn differences(one: &ConfFile, other: &ConfFile) -> Vec<String> {
    let (ours, theirs) = (effective_options(one), effective_options(other));
    let names = ours.keys().chain(theirs.keys());
    let mut differing: Vec<String> = names
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| match HOST_OPTIONS.contains(&name.as_str()) {
            true => name.clone(),
            // The name in the file that sets the option for its service alone.
            false if one.has_own_option(name) => one.written_name(name),
            false => other.written_name(name),
        })
        .collect();
    differing.sort();
    differing.dedup();
    differing
}

/// The conflicts between entries that the daemon cannot distinguish.
pub(crate) fn conflicts(entries: &[Entry]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (number, other) in entries.iter().enumerate() {
        let first = entries[..number]
            .iter()
            .find(|one| one.sasl_service == other.sasl_service);
        let Some(first) = first else { continue };
        let options = differences(&first.conf, &other.conf);
        if !options.is_empty() {
            let locations = options.iter().find_map(|option| {
                first
                    .conf
                    .location(option)
                    .or_else(|| other.conf.location(option))
            });
            conflicts.push(Conflict {
                location: locations.cloned(),
                sasl_service: other.sasl_service,
                entries: [first.name.clone(), other.name.clone()],
                options,
            });
        }
    }
    conflicts
}

/// The faults of entries with another session cache than the daemon's: the daemon has only one.
pub(crate) fn other_session_caches(general: &ConfFile, entries: &[Entry]) -> Vec<String> {
    let is_of_store =
        |name: &String| name.ends_with("sso_state_dir") || name.ends_with("sso_sessions");
    let differing = entries.iter().flat_map(|entry| {
        let differing = differences(general, &entry.conf).into_iter();
        differing.filter(is_of_store)
    });
    let mut problems: Vec<String> = differing
        .map(|name| format!("{name}: the daemon has one store of sessions; take it out"))
        .collect();
    problems.dedup();
    problems
}

/// The services whose options differ from `general`, by their SASL name. There must be no
/// conflicts.
pub(crate) fn with_own_options<'e>(
    general: &ConfFile,
    entries: &'e [Entry],
) -> BTreeMap<&'static str, &'e ConfFile> {
    let own = entries
        .iter()
        .filter(|entry| !differences(general, &entry.conf).is_empty());
    own.map(|entry| (entry.sasl_service, &entry.conf)).collect()
}

#[cfg(test)]
#[path = "service_options_tests.rs"]
mod tests;
