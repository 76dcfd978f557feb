//! imapd.conf, read as Cyrus reads it (imapd.conf(5)): `key: value`, `#`
//! comments, `\` at the end of a line, `@include:`, and no key twice.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::Options;

/// How deep files may include one another.
const DEEPEST: usize = 10;

/// The options of one service.
#[derive(Debug)]
pub(super) struct ImapdConf {
    values: BTreeMap<String, String>,
    service: Option<String>,
}

impl ImapdConf {
    /// Reads a file and what it includes, for the service of this name.
    ///
    /// # Errors
    /// A sentence that names the file and the line.
    pub(super) fn read(path: &Path, service: Option<&str>) -> Result<Self, String> {
        let mut conf = Self {
            values: BTreeMap::new(),
            service: service.map(str::to_owned),
        };
        conf.include(path, 0)?;
        Ok(conf)
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
            key.strip_prefix("sasl_")
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

    fn include(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("{}: includes itself", path.display()));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        for (number, line) in whole_lines(&text) {
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
            if key == "@include" {
                self.include(Path::new(value), depth + 1)?;
            } else if self.values.insert(key.clone(), value.to_owned()).is_some() {
                return Err(format!("{}: {key} is there twice", place()));
            }
        }
        Ok(())
    }
}

impl Options for ImapdConf {
    fn get(&self, name: &str) -> Option<String> {
        let of_service = self
            .service
            .as_ref()
            .and_then(|service| self.values.get(&format!("{service}_sasl_{name}")));
        of_service
            .or_else(|| self.values.get(&format!("sasl_{name}")))
            .cloned()
    }
}

/// The lines that are neither empty nor comments, each with the number that it
/// begins at, and with the lines that continue it.
fn whole_lines(text: &str) -> Vec<(usize, String)> {
    let mut whole: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (line, continued) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
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

    fn read(text: &str, service: Option<&str>) -> Result<ImapdConf, String> {
        let directory = tempfile::tempdir().unwrap();
        let included = directory.path().join("included");
        std::fs::write(&included, "sasl_sso_realm: univ.fr\n").unwrap();
        let path = directory.path().join("imapd.conf");
        let text = text.replace("INCLUDED", included.to_str().unwrap());
        std::fs::write(&path, text.replace("ITSELF", path.to_str().unwrap())).unwrap();
        ImapdConf::read(&path, service)
    }

    #[test]
    fn options_are_read_as_imapd_reads_them() {
        let conf = read(
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
        let realm = |service| read(text, service).unwrap().get("sso_realm").unwrap();
        assert_eq!(realm(None), "a.fr");
        assert_eq!(realm(Some("pop3")), "b.fr");
        assert_eq!(realm(Some("imap")), "a.fr");
    }

    #[test]
    fn what_cyrus_does_not_start_with_is_named_with_its_line() {
        let twice = read("a: 1\n\na: 2\n", None).unwrap_err();
        assert!(twice.ends_with("imapd.conf:3: a is there twice"), "{twice}");
        assert!(read("nonsense\n", None).is_err());
        assert!(read("sasl_sso_realm:\n", None).is_err());
        assert!(read("sasl_sso_realm : univ.fr\n", None).is_err());
        assert!(read("@include: ITSELF\n", None).is_err());
    }
}
