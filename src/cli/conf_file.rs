//! The file that the options stand in, read as its host reads it: imapd.conf(5)
//! as Cyrus does (`key: value`, `#` comments, `\` at the end of a line,
//! `@include:`, no key twice, SASL's options with `sasl_` in front), or a
//! configuration file of SASL itself, such as Postfix' smtpd.conf, as libsasl2
//! does (one line an option, which has its own name).

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{Config, Options, is_on};
use crate::daemon;
use clap::Args;

/// How deep files may include one another.
const DEEPEST: usize = 10;

/// The longest line that libsasl2 reads of a file of its own, in bytes.
const LONGEST_LINE: usize = 4_095;

/// The file that a command is about, and the service.
#[derive(Clone, Args)]
pub(super) struct Place {
    /// An imapd.conf, or a configuration file of SASL itself, such as Postfix'
    /// smtpd.conf
    #[arg(long, value_name = "FILE", default_value = "/etc/imapd.conf")]
    pub(super) config: PathBuf,
    /// A service in cyrus.conf, whose own options (pop3_sasl_…) go first
    #[arg(long, value_name = "NAME")]
    pub(super) service: Option<String>,
}

impl Place {
    /// Reads the file, for the service if one is named.
    ///
    /// # Errors
    /// As [`ConfFile::read`].
    pub(super) fn read(&self) -> Result<ConfFile, String> {
        ConfFile::read(&self.config, self.service.as_deref())
    }
}

/// The options of one service.
#[derive(Debug)]
pub(super) struct ConfFile {
    values: BTreeMap<String, String>,
    service: Option<String>,
    format: Format,
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Cyrus imapd's.
    Imapd,
    /// libsasl2's own.
    Sasl,
}

impl Format {
    /// What stands before the name of an option of SASL.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Imapd => "sasl_",
            Self::Sasl => "",
        }
    }

    /// By what is in it: no file of SASL's has names with `sasl_` in them, and no
    /// imapd.conf has SASL's options without.
    fn of(text: &str) -> Self {
        let mut format = Self::Imapd;
        for (_, line) in whole_lines(text, Self::Sasl) {
            let key = line
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            if key.contains("sasl_") || key == "configdirectory" || key == "@include" {
                return Self::Imapd;
            }
            let of_sasl = ["mech_list", "pwcheck_method", "saslauthd_path"].contains(&key.as_str());
            if of_sasl || PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
                format = Self::Sasl;
            }
        }
        format
    }
}

/// What the options of single sign-on begin with.
pub(super) const PREFIXES: [&str; 3] = ["caspt_", "jwt_", "sso_"];

impl ConfFile {
    /// Reads a file and what it includes, for the service of this name.
    ///
    /// # Errors
    /// A sentence that names the file and the line.
    pub(super) fn read(path: &Path, service: Option<&str>) -> Result<Self, String> {
        let text = read(path)?;
        let mut conf = Self {
            values: BTreeMap::new(),
            service: service.map(str::to_owned),
            format: Format::of(&text),
        };
        conf.take(path, &text, 0)?;
        Ok(conf)
    }

    /// Whose file it is.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The value of an option of the host's own, if it is set.
    pub(super) fn of_host(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names of all options of SASL, without `sasl_`.
    pub(super) fn sasl_names(&self) -> impl Iterator<Item = &str> {
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
    pub(super) fn services(&self) -> BTreeSet<&str> {
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
    pub(super) fn asks_itself(&self, config: &Config) -> Option<String> {
        let own = PathBuf::from(self.get("saslauthd_path")?);
        let fallback = config.fallback.as_ref()?;
        let what = "is the daemon's own socket; name that of the other saslauthd";
        daemon::same_file(&own, fallback)
            .then(|| format!("{}sso_fallback_socket: {what}", self.format.prefix()))
    }

    /// What is wrong if libsasl2 would keep, as the user's password, what the daemon
    /// took: for whichever service, for the daemon answers all.
    pub(super) fn transitions(&self) -> Vec<String> {
        let name = format!("{}auto_transition", self.format.prefix());
        let is_one = |key: &str| key == name || key.ends_with(&format!("_{name}"));
        let set = self.values.iter();
        let on = set.filter(|(key, value)| is_one(key) && is_on(value) != Some(false));
        on.map(|(key, _)| {
            format!("{key}: would store tickets and tokens as passwords; take it out")
        })
        .collect()
    }

    fn take(&mut self, path: &Path, text: &str, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("{}: includes itself", path.display()));
        }
        for (number, line) in whole_lines(text, self.format) {
            let place = || format!("{}:{number}", path.display());
            let (key, value) = line
                .split_once(':')
                .ok_or_else(|| format!("{}: has no colon; write key: value", place()))?;
            let (key, value) = (key.to_ascii_lowercase(), value.trim());
            let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@');
            if !key.chars().all(is_key) {
                return Err(format!("{}: \"{key}\" is no name of an option", place()));
            }
            if value.is_empty() {
                let remedy = "give it a value or take it out";
                return Err(format!("{}: {key} has no value; {remedy}", place()));
            }
            if self.format == Format::Sasl && line.len() > LONGEST_LINE {
                let what = "is longer than the 4095 bytes that libsasl2 reads";
                return Err(format!("{}: {what}", place()));
            }
            if key == "@include" {
                let path = Path::new(value);
                self.take(path, &read(path)?, depth + 1)?;
            } else if self.values.insert(key.clone(), value.to_owned()).is_some() {
                return Err(format!("{}: {key} is there twice", place()));
            }
        }
        Ok(())
    }
}

impl Options for ConfFile {
    fn get(&self, name: &str) -> Option<String> {
        let name = format!("{}{name}", self.format.prefix());
        let of_service = self
            .service
            .as_ref()
            .and_then(|service| self.values.get(&format!("{service}_{name}")));
        of_service.or_else(|| self.values.get(&name)).cloned()
    }
}

/// What is not UTF-8, in a comment say, is no matter to the hosts.
fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines that are neither empty nor comments, each with the number that it
/// begins at, and with the lines that continue it.
fn whole_lines(text: &str, format: Format) -> Vec<(usize, String)> {
    let mut whole: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (line, continued) = match line.strip_suffix('\\') {
            Some(line) if format == Format::Imapd => (line, true),
            _ => (line, false),
        };
        match whole.last_mut() {
            Some((_, begun)) if goes_on => begun.push_str(line),
            _ => whole.push((index + 1, line.trim_start().to_owned())),
        }
        goes_on = continued;
    }
    whole.retain(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    whole
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
        assert!(twice.ends_with("imapd.conf:3: a is there twice"), "{twice}");
        assert!(of("nonsense\n", None).is_err());
        assert!(of("sasl_sso_realm:\n", None).is_err());
        assert!(of("sasl_sso_realm : univ.fr\n", None).is_err());
        assert!(of("@include: ITSELF\n", None).is_err());
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
        assert!(of(&long, None).unwrap_err().ends_with("libsasl2 reads"));
        // Without the prefix they are not read by imapd.
        let conf = of("configdirectory: /x\ncaspt_url: https://a/\n", None).unwrap();
        assert_eq!(conf.format(), Format::Imapd);
        assert_eq!(conf.get("caspt_url"), None);
    }
}
