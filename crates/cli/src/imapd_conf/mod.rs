//! The file that the options stand in, read as its host reads it: imapd.conf(5)
//! as Cyrus does (`key: value`, `#` comments, `\` at the end of a line,
//! `@include:`, no key twice, SASL's options with `sasl_` in front), or a
//! configuration file of SASL itself, such as Postfix' smtpd.conf, as libsasl2
//! does (one line an option, which has its own name).
//!
//! Where Cyrus stops at the first thing that it does not take, this goes on: all
//! that is wrong is known at once.
//!
//! - `text`: from bytes to lines
//! - `reading`: from lines to options, and into the files that are included
//! - `flaw`: what is wrong, and where

#![forbid(unsafe_code)]

pub(crate) mod diagnostic;
pub(crate) mod lexer;
pub(crate) mod login_paths;
pub(crate) mod parser;
pub(crate) mod service_options;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::daemon;
use clap::Args;
use sso_core::config::{Config, Options, is_on};

pub(crate) use diagnostic::{Flaw, Spot};
pub(crate) use lexer::Format;
use parser::{Entry, Reading};

/// What the options of single sign-on begin with.
pub(crate) const PREFIXES: [&str; 3] = ["caspt_", "jwt_", "sso_"];

/// The file that a command is about, and the service.
#[derive(Clone, Args)]
pub(crate) struct Place {
    /// An imapd.conf, or a configuration file of SASL itself, such as Postfix'
    /// smtpd.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/imapd.conf")]
    pub(crate) config: PathBuf,
    /// A service in cyrus.conf, whose own options (pop3_sasl_…) go first
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
}

impl Place {
    /// Reads the file, for the service if one is named.
    ///
    /// # Errors
    /// As [`ConfFile::read`].
    pub(crate) fn read(&self) -> Result<ConfFile, String> {
        ConfFile::read(&self.config, self.service.as_deref())
    }
}

/// The options of one service.
#[derive(Debug)]
pub(crate) struct ConfFile {
    values: BTreeMap<String, Entry>,
    service: Option<String>,
    format: Format,
}

impl ConfFile {
    /// Reads a file and what it includes, for the service of this name.
    ///
    /// # Errors
    /// Every fault of the file itself, each in a line with its place.
    pub(crate) fn read(path: &Path, service: Option<&str>) -> Result<Self, String> {
        let (conf, flaws) = Self::examine(path, service)?;
        let faults = flaws.iter().filter(|flaw| flaw.is_fault);
        let faults: Vec<String> = faults.map(ToString::to_string).collect();
        match faults.is_empty() {
            true => Ok(conf),
            false => Err(faults.join("\n")),
        }
    }

    /// The same with all that is wrong with the file itself, and the options that
    /// could be read nevertheless.
    ///
    /// # Errors
    /// That the file cannot be read at all.
    pub(crate) fn examine(path: &Path, service: Option<&str>) -> Result<(Self, Vec<Flaw>), String> {
        let reading = Reading::of(path)?;
        let conf = Self {
            values: reading.values,
            // As Cyrus looks for them.
            service: service.map(str::to_ascii_lowercase),
            format: reading.format,
        };
        Ok((conf, reading.flaws))
    }

    /// The options of single sign-on, checked.
    ///
    /// # Errors
    /// Every fault, each with the option as the file spells it.
    pub(crate) fn config(&self) -> Result<Config, Vec<String>> {
        Config::read(self).map_err(|faults| {
            let written = faults.iter().map(|fault| {
                let option = self.written(&fault.option);
                format!("{option}: {}", fault.problem)
            });
            written.collect()
        })
    }

    /// The names of all options, as they are written, but in lower case.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Where an option stands whose name is written so.
    pub(crate) fn spot(&self, name: &str) -> Option<&Spot> {
        self.values.get(name).map(|entry| &entry.spot)
    }

    /// How the option of SASL called `name` is written, by which this service reads
    /// it: with the service's name before it, if that is there.
    pub(crate) fn written(&self, name: &str) -> String {
        let name = format!("{}{name}", self.format.prefix());
        match self.service.as_ref().map(|of| format!("{of}_{name}")) {
            Some(of_service) if self.values.contains_key(&of_service) => of_service,
            _ => name,
        }
    }

    /// Whether this service has the option of SASL called `name` for itself.
    pub(crate) fn has_own(&self, name: &str) -> bool {
        self.written(name) != format!("{}{name}", self.format.prefix())
    }

    /// Whose file it is.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The value of an option of the host's own, if it is set, for the service if
    /// it has one of its own.
    pub(crate) fn of_host(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.value.as_str())
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        let of_service = self.service.as_ref();
        of_service
            .and_then(|service| self.values.get(&format!("{service}_{name}")))
            .or_else(|| self.values.get(name))
    }

    /// The names of all options of SASL, without `sasl_`.
    pub(crate) fn sasl_names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().filter_map(|key| {
            let key = match &self.service {
                Some(service) => key
                    .strip_prefix(service.as_str())
                    .and_then(|rest| rest.strip_prefix('_'))
                    .unwrap_or(key),
                None => key,
            };
            key.strip_prefix(self.format.prefix())
        })
    }

    /// The services that have options of single sign-on of their own.
    pub(crate) fn services(&self) -> BTreeSet<&str> {
        let of_service = |key| {
            let (service, _) = ["_sasl_caspt_", "_sasl_jwt_", "_sasl_sso_"]
                .iter()
                .find_map(|infix| str::split_once(key, infix))?;
            Some(service)
        };
        self.values
            .keys()
            .map(String::as_str)
            .filter_map(of_service)
            .collect()
    }

    /// What is wrong if `sso_fallback_socket` leads back to the daemon.
    pub(crate) fn asks_itself(&self, config: &Config) -> Option<String> {
        let own = PathBuf::from(self.get("saslauthd_path")?);
        let fallback = config.fallback.as_ref()?;
        let what = "is the daemon's own socket; name that of the other saslauthd";
        daemon::same_file(&own, fallback)
            .then(|| format!("{}sso_fallback_socket: {what}", self.format.prefix()))
    }

    /// What is wrong if libsasl2 would keep, as the user's password, what the daemon
    /// took: for whichever service, for the daemon answers all.
    pub(crate) fn transitions(&self) -> Vec<String> {
        let keys = self.transitioning().into_iter();
        keys.map(|key| format!("{key}: would store tickets and tokens as passwords; take it out"))
            .collect()
    }

    /// The options, as they are written, by which libsasl2 stores what passes as a
    /// password.
    pub(crate) fn transitioning(&self) -> Vec<String> {
        let name = format!("{}auto_transition", self.format.prefix());
        let is_one = |key: &str| key == name || key.ends_with(&format!("_{name}"));
        let set = self.values.iter();
        let on = set.filter(|(key, entry)| is_one(key) && is_on(&entry.value) != Some(false));
        on.map(|(key, _)| key.clone()).collect()
    }

    /// Whether this is the whole file of an imapd, rather than lines to add to one.
    pub(crate) fn is_complete(&self) -> bool {
        let is_of_a_whole = |name: &str| {
            name.contains("partition") || ["configdirectory", "admins"].contains(&name)
        };
        self.names().any(is_of_a_whole)
    }

    /// The value of an option whose name is written so.
    pub(crate) fn as_written(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|entry| entry.value.clone())
    }
}

impl Options for ConfFile {
    fn get(&self, name: &str) -> Option<String> {
        let name = format!("{}{name}", self.format.prefix());
        self.entry(&name).map(|entry| entry.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, service: Option<&str>) -> Result<ConfFile, String> {
        let directory = tempfile::tempdir().unwrap();
        let included = directory.path().join("included");
        std::fs::write(&included, "sasl_sso_realm: univ.fr\n").unwrap();
        let path = directory.path().join("imapd.conf");
        let text = text.replace("INCLUDED", included.to_str().unwrap());
        std::fs::write(&path, text.replace("ITSELF", path.to_str().unwrap())).unwrap();
        ConfFile::read(&path, service)
    }

    #[test]
    fn options_are_read_as_imapd_reads_them() {
        let conf = of(
            "# a comment\n\n  SASL_caspt_url:   https://a/ \\\n  https://b/\n@include: INCLUDED\n",
            None,
        )
        .unwrap();
        let urls = conf.get("caspt_url").unwrap();
        assert_eq!(
            urls.split_whitespace().collect::<Vec<_>>(),
            ["https://a/", "https://b/"]
        );
        assert_eq!(conf.get("sso_realm").as_deref(), Some("univ.fr"));
        assert_eq!(conf.get("caspt_service"), None);
    }

    #[test]
    fn the_options_of_a_service_go_first() {
        let text = "sasl_sso_realm: a.fr\npop3_sasl_sso_realm: b.fr\n";
        let realm = |service| of(text, service).unwrap().get("sso_realm").unwrap();
        assert_eq!(realm(None), "a.fr");
        assert_eq!(realm(Some("pop3")), "b.fr");
        assert_eq!(realm(Some("imap")), "a.fr");
    }

    #[test]
    fn what_cyrus_does_not_start_with_is_named_with_its_line() {
        let twice = of("a: 1\n\na: 2\n", None).unwrap_err();
        assert!(twice.contains("imapd.conf:3: a: is there twice"), "{twice}");
        assert!(of("nonsense\n", None).is_err());
        assert!(of("sasl_sso_realm:\n", None).is_err());
        assert!(of("sasl_sso_realm : univ.fr\n", None).is_err());
        assert!(of("@include: ITSELF\n", None).is_err());
        assert!(of("@include: INCLUDED\n@include: INCLUDED\n", None).is_err());
        assert!(of("@inclade: INCLUDED\n", None).is_err());
        assert!(of("\u{feff}a: 1\n", None).is_err());
        assert!(of("\u{a0}a: 1\n", None).is_err());
        assert!(of("a@b: 1\n", None).is_err());
        let all = of("a\nb: 1\nB: 2\nc:\n: d\n@include: /missing\n", None).unwrap_err();
        assert_eq!(all.lines().count(), 5, "{all}");
    }

    #[test]
    fn a_file_of_sasl_has_options_by_their_own_names() {
        let text = "# for smtpd\npwcheck_method: saslauthd\njwt_keys: discovery\\\n";
        let conf = of(text, None).unwrap();
        assert_eq!(conf.format(), Format::Sasl);
        assert_eq!(conf.get("jwt_keys").as_deref(), Some("discovery\\"));
        let names: Vec<&str> = conf.sasl_names().collect();
        assert_eq!(names, ["jwt_keys", "pwcheck_method"]);
        let long = format!("jwt_keys: {}\n", "x".repeat(4_090));
        assert!(of(&long, None).unwrap_err().contains("libsasl2 reads"));
        // Without the prefix they are not read by imapd.
        let conf = of("configdirectory: /x\ncaspt_url: https://a/\n", None).unwrap();
        assert_eq!(conf.format(), Format::Imapd);
        assert_eq!(conf.get("caspt_url"), None);
    }
}
