//! The configuration file, read as its host application reads it: imapd.conf(5) as Cyrus does
//! (`key: value`, `#` comments, `\` at the end of a continued line, `@include:`, each key only
//! once, options of SASL with the prefix `sasl_`), or a configuration file of SASL itself, such as
//! Postfix' smtpd.conf, as libsasl2 does (one option in each line, without a prefix).
//!
//! Cyrus stops at the first error; this parser continues and reports all errors.
//!
//! - `lexer`: splits the file into lines
//! - `parser`: reads options from lines, and included files
//! - `diagnostic`: faults and their location
//! - `service_options`: options of single services, for the daemon
//! - `login_paths`: the paths by which credentials arrive

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

pub(crate) use diagnostic::{FileDiagnostic, Location};
pub(crate) use lexer::Format;
use parser::{Entry, ParsedFile};

/// The prefixes of the options of single sign-on.
pub(crate) const PREFIXES: [&str; 3] = ["caspt_", "jwt_", "sso_"];

/// The command line arguments that select the configuration file and the service.
#[derive(Clone, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file: an imapd.conf, or a file of SASL itself, such as Postfix' smtpd.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/imapd.conf")]
    pub(crate) config: PathBuf,
    /// Service in cyrus.conf, whose own options (pop3_sasl_…) take precedence
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
}

impl ConfigArgs {
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
    /// Reads a file and the files that it includes, for the service of this name.
    ///
    /// # Errors
    /// All faults of the file itself, each in a line with its location.
    pub(crate) fn read(path: &Path, service: Option<&str>) -> Result<Self, String> {
        let (conf, diagnostics) = Self::examine(path, service)?;
        let faults = diagnostics.iter().filter(|diagnostic| diagnostic.is_fault);
        let faults: Vec<String> = faults.map(ToString::to_string).collect();
        match faults.is_empty() {
            true => Ok(conf),
            false => Err(faults.join("\n")),
        }
    }

    /// Reads a file like [`ConfFile::read`], but returns its faults and warnings together with the
    /// options that could be read.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub(crate) fn examine(
        path: &Path,
        service: Option<&str>,
    ) -> Result<(Self, Vec<FileDiagnostic>), String> {
        let parsed = ParsedFile::read(path)?;
        let conf = Self {
            values: parsed.values,
            // Cyrus looks up options in lower case.
            service: service.map(str::to_ascii_lowercase),
            format: parsed.format,
        };
        Ok((conf, parsed.diagnostics))
    }

    /// The validated options of single sign-on.
    ///
    /// # Errors
    /// All faults, each with the name of the option as it is written in the file.
    pub(crate) fn config(&self) -> Result<Config, Vec<String>> {
        Config::read(self).map_err(|faults| {
            let written = faults.iter().map(|fault| {
                let option = self.written_name(&fault.option);
                format!("{option}: {}", fault.problem)
            });
            written.collect()
        })
    }

    /// The names of all options as they are written, in lower case.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The location of the option with this name in the file.
    pub(crate) fn location(&self, name: &str) -> Option<&Location> {
        self.values.get(name).map(|entry| &entry.location)
    }

    /// The name by which this service reads an option of SASL: with the prefix of the service if
    /// the file has that option, otherwise without it.
    pub(crate) fn written_name(&self, name: &str) -> String {
        let name = format!("{}{name}", self.format.prefix());
        match self.service.as_ref().map(|of| format!("{of}_{name}")) {
            Some(of_service) if self.values.contains_key(&of_service) => of_service,
            _ => name,
        }
    }

    /// Whether the file has an option of SASL for this service alone.
    pub(crate) fn has_own_option(&self, name: &str) -> bool {
        self.written_name(name) != format!("{}{name}", self.format.prefix())
    }

    /// The format of the file.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The value of an option of the host application; the option with the service's prefix takes
    /// precedence.
    pub(crate) fn host_option(&self, name: &str) -> Option<&str> {
        self.entry(name).map(|entry| entry.value.as_str())
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        let of_service = self.service.as_ref();
        of_service
            .and_then(|service| self.values.get(&format!("{service}_{name}")))
            .or_else(|| self.values.get(name))
    }

    /// The names of all options of SASL, without the prefix `sasl_`.
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

    /// The services with their own options of single sign-on.
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

    /// The fault that `sso_fallback_socket` is the daemon's own socket.
    pub(crate) fn fallback_loop(&self, config: &Config) -> Option<String> {
        let own = PathBuf::from(self.get("saslauthd_path")?);
        let fallback = config.fallback.as_ref()?;
        let what = "is the daemon's own socket; name that of the other saslauthd";
        daemon::same_file(&own, fallback)
            .then(|| format!("{}sso_fallback_socket: {what}", self.format.prefix()))
    }

    /// The faults of options by which libsasl2 would store tickets and tokens as passwords. Options
    /// of all services count, because the daemon serves all.
    pub(crate) fn auto_transition_faults(&self) -> Vec<String> {
        let keys = self.auto_transition_options().into_iter();
        keys.map(|key| format!("{key}: would store tickets and tokens as passwords; take it out"))
            .collect()
    }

    /// The names, as written, of the options that make libsasl2 store accepted passwords.
    pub(crate) fn auto_transition_options(&self) -> Vec<String> {
        let name = format!("{}auto_transition", self.format.prefix());
        let is_one = |key: &str| key == name || key.ends_with(&format!("_{name}"));
        let set = self.values.iter();
        let on = set.filter(|(key, entry)| is_one(key) && is_on(&entry.value) != Some(false));
        on.map(|(key, _)| key.clone()).collect()
    }

    /// Whether this is the complete file of an imapd, not only lines to be added to one.
    pub(crate) fn is_complete(&self) -> bool {
        let is_of_a_whole = |name: &str| {
            name.contains("partition") || ["configdirectory", "admins"].contains(&name)
        };
        self.names().any(is_of_a_whole)
    }

    /// The value of the option with this name in the file.
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
    fn options_of_a_service_take_precedence() {
        let text = "sasl_sso_realm: a.fr\npop3_sasl_sso_realm: b.fr\n";
        let realm = |service| of(text, service).unwrap().get("sso_realm").unwrap();
        assert_eq!(realm(None), "a.fr");
        assert_eq!(realm(Some("pop3")), "b.fr");
        assert_eq!(realm(Some("imap")), "a.fr");
    }

    #[test]
    fn every_fault_that_stops_cyrus_is_reported_with_its_line() {
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
    fn file_of_sasl_has_options_without_prefix() {
        let text = "# for smtpd\npwcheck_method: saslauthd\njwt_keys: discovery\\\n";
        let conf = of(text, None).unwrap();
        assert_eq!(conf.format(), Format::Sasl);
        assert_eq!(conf.get("jwt_keys").as_deref(), Some("discovery\\"));
        let names: Vec<&str> = conf.sasl_names().collect();
        assert_eq!(names, ["jwt_keys", "pwcheck_method"]);
        let long = format!("jwt_keys: {}\n", "x".repeat(4_090));
        assert!(of(&long, None).unwrap_err().contains("libsasl2 reads"));
        // imapd does not pass options without the prefix to SASL.
        let conf = of("configdirectory: /x\ncaspt_url: https://a/\n", None).unwrap();
        assert_eq!(conf.format(), Format::Imapd);
        assert_eq!(conf.get("caspt_url"), None);
    }
}
