//! The options of single services, for the daemon. A request names what libsasl2 calls the
//! service (`imap`, `pop`), and not which entry of cyrus.conf has asked: so the entries of
//! one SASL service that ask the daemon must have the same options.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::{ConfFile, Format, Spot};
use crate::commands::check::cyrus_conf::CyrusConf;
use crate::daemon::same_file;
use sso_core::config::{DefaultValue, OPTIONS, Options, is_option};

/// Options of imapd that the daemon goes by: how names are written, and for which host
/// tickets are.
const OF_HOST: [&str; 7] = [
    "servername",
    "username_tolower",
    "virtdomains",
    "defaultdomain",
    "loginrealms",
    "auth_mech",
    "imapmagicplus",
];

/// An entry of cyrus.conf whose processes ask the daemon.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// What it calls itself to libsasl2.
    pub(crate) of_sasl: &'static str,
    /// Its file, as it reads it.
    pub(crate) conf: ConfFile,
}

/// Two entries that the daemon cannot tell apart, with different options.
pub(crate) struct Conflict {
    pub(crate) of_sasl: &'static str,
    pub(crate) entries: [String; 2],
    /// The options, as the second entry's file has, or would have, them.
    pub(crate) options: Vec<String>,
    /// Where one of them stands, if any does.
    pub(crate) spot: Option<Spot>,
}

impl Conflict {
    pub(crate) const REMEDY: &str = "give both the same options, or have only one of them ask the \
                                     daemon (saslauthd_path)";

    /// What is wrong, without the remedy.
    pub(crate) fn problem(&self) -> String {
        let [one, other] = &self.entries;
        let (of_sasl, options) = (self.of_sasl, self.options.join(", "));
        format!(
            "the entries {one} and {other} of cyrus.conf are both {of_sasl} to SASL, so the daemon \
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

/// The cyrus.conf that was named, or else the one beside an imapd.conf, if there is one.
///
/// # Errors
/// That it cannot be read.
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

/// The entries of cyrus.conf that ask the daemon which reads `conf`, the file at `main`.
///
/// # Errors
/// Each file that cannot be read.
pub(crate) fn entries(
    main: &Path,
    conf: &ConfFile,
    cyrus: Option<&CyrusConf>,
) -> Result<Vec<Entry>, Vec<String>> {
    let services = cyrus.map_or(&[][..], |cyrus| &cyrus.services);
    // Where an entry names this file, those that name none read the default one.
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
                of_sasl: service.of_sasl,
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

/// What is wrong with the entries that have options of their own in `conf`, and of which
/// it is not known what they call themselves to libsasl2.
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
    // No process reads the options of a name that is not in cyrus.conf.
    (!is_known && cyrus.has(name)).then(|| {
        format!(
            "{name}_sasl_…: it is not known what the program of this entry of cyrus.conf calls \
             itself to SASL; have the entry start a program of Cyrus by its own name"
        )
    })
}

/// Whether an entry asks the same saslauthd as the daemon's own file says, and asks one
/// at all if that file says so.
fn asks_same_daemon(entry: &ConfFile, general: &ConfFile) -> bool {
    let path = |conf: &ConfFile| conf.get("saslauthd_path");
    let is_same_path = match (path(entry), path(general)) {
        (Some(own), Some(ours)) => own == ours || same_file(own.as_ref(), ours.as_ref()),
        (None, Some(_)) => false,
        // The daemon was told its socket in another way.
        (_, None) => true,
    };
    let method = entry.get("pwcheck_method").unwrap_or_default();
    let asks = method.split_whitespace().any(|word| word == "saslauthd")
        || general.get("pwcheck_method").unwrap_or_default() == method;
    is_same_path && asks
}

/// The options by which the daemon decides, as `conf` has them, by their own names.
fn decisive(conf: &ConfFile) -> BTreeMap<String, String> {
    let defaults = OPTIONS.iter().filter_map(|option| match option.default {
        DefaultValue::Is(value) => Some((option.name.to_owned(), value.to_owned())),
        DefaultValue::Means(_) => None,
    });
    let mut all: BTreeMap<String, String> = defaults.collect();
    for name in conf.sasl_names().filter(|name| is_option(conf, name)) {
        all.extend(conf.get(name).map(|value| (name.to_owned(), value)));
    }
    // That is for the plugin alone.
    all.remove("sso_plain");
    for name in OF_HOST {
        let value = conf.of_host(name).map(str::to_owned);
        all.extend(value.map(|value| (name.to_owned(), value)));
    }
    for value in all.values_mut() {
        *value = value.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    all
}

/// The names of the options in which two files, or services, differ, as the second one
/// has, or would have, them.
fn differences(one: &ConfFile, other: &ConfFile) -> Vec<String> {
    let (ours, theirs) = (decisive(one), decisive(other));
    let names = ours.keys().chain(theirs.keys());
    let mut differing: Vec<String> = names
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| match OF_HOST.contains(&name.as_str()) {
            true => name.clone(),
            // Whichever of them has it for itself.
            false if one.has_own(name) => one.written(name),
            false => other.written(name),
        })
        .collect();
    differing.sort();
    differing.dedup();
    differing
}

/// The entries that the daemon cannot tell apart, and that differ.
pub(crate) fn conflicts(entries: &[Entry]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (number, other) in entries.iter().enumerate() {
        let first = entries[..number]
            .iter()
            .find(|one| one.of_sasl == other.of_sasl);
        let Some(first) = first else { continue };
        let options = differences(&first.conf, &other.conf);
        if !options.is_empty() {
            let spots = options
                .iter()
                .find_map(|option| first.conf.spot(option).or_else(|| other.conf.spot(option)));
            conflicts.push(Conflict {
                spot: spots.cloned(),
                of_sasl: other.of_sasl,
                entries: [first.name.clone(), other.name.clone()],
                options,
            });
        }
    }
    conflicts
}

/// What is wrong if an entry has its sessions elsewhere than the daemon: the daemon has
/// one store.
pub(crate) fn other_stores(general: &ConfFile, entries: &[Entry]) -> Vec<String> {
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

/// The services, by what they call themselves to SASL, whose options differ from those
/// in `general`. There must be no conflicts.
pub(crate) fn with_own_options<'e>(
    general: &ConfFile,
    entries: &'e [Entry],
) -> BTreeMap<&'static str, &'e ConfFile> {
    let own = entries
        .iter()
        .filter(|entry| !differences(general, &entry.conf).is_empty());
    own.map(|entry| (entry.of_sasl, &entry.conf)).collect()
}

#[cfg(test)]
#[path = "service_options_tests.rs"]
mod tests;
