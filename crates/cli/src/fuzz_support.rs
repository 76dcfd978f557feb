//! Fuzz target for configuration files.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

use crate::imapd_conf::ConfFile;
use sso_core::config::{Config, is_option, names};
use sso_core::fuzz_support::input::parts;
use sso_core::fuzz_support::policy::InMemory;

/// The placeholder for the path of the included file.
const INCLUDED: &str = "INCLUDED";

/// Reads an imapd.conf or a configuration file of SASL, which may include a second file. A file
/// with faults must not yield a configuration, and values that are written to a new file must be
/// read back unchanged.
pub fn options(data: &[u8]) {
    let mut files = parts(data);
    let main = String::from_utf8_lossy(files.next().unwrap_or_default());
    let included = InMemory::new(files.next().unwrap_or_default());
    let path = included.path().display().to_string();
    // No other file of this host may be included.
    let joined = main.replace("\\\n", "").to_ascii_lowercase();
    let without = joined.replace(&format!("@include: {}", INCLUDED.to_ascii_lowercase()), "");
    let other = String::from_utf8_lossy(data)
        .replace("\\\n", "")
        .to_ascii_lowercase();
    if without.matches("@include").count() > 0 || other.matches("@include").count() > 1 {
        return;
    }
    let main = InMemory::new(main.replace(INCLUDED, &path).as_bytes());
    for service in [None, Some("pop3")] {
        let (conf, diagnostics) = ConfFile::examine(&main.path(), service).expect("a file");
        for diagnostic in &diagnostics {
            assert!(
                !diagnostic.problem.contains('\n') && !diagnostic.remedy.is_empty(),
                "{diagnostic:?}"
            );
        }
        let read = ConfFile::read(&main.path(), service);
        assert_eq!(
            read.is_err(),
            diagnostics.iter().any(|diagnostic| diagnostic.is_fault)
        );
        check_config(&conf);
        check_round_trip(&conf);
    }
}

fn values(conf: &ConfFile) -> BTreeMap<String, String> {
    let value = |name: &str| conf.as_written(name).expect("a value");
    conf.names()
        .map(|name| (name.to_owned(), value(name)))
        .collect()
}

/// Checks that the result is either a configuration or faults, and that each fault names an
/// existing option.
fn check_config(conf: &ConfFile) {
    let (_, faults) = Config::examine(conf);
    let config = Config::read(conf);
    assert_eq!(config.is_ok(), faults.is_empty());
    for fault in &faults {
        assert!(is_option(conf, &fault.option), "{fault}");
        assert!(!fault.problem.contains('\0'), "{fault}");
    }
    let lines = conf.config().map_err(|faults| faults.len());
    assert_eq!(lines.is_ok(), config.is_ok());
    if let Ok(config) = &config {
        // The same options must yield the same policy digest.
        let again = Config::read(conf).expect("the same");
        let policy = |config: &Config| config.cas.as_ref().map(|cas| cas.policy());
        assert_eq!(policy(config), policy(&again));
        assert!(names().count() > 0 && config.sessions.capacity > 0);
        assert!(config.cas.is_some() || config.jwt.is_some() || !config.plain);
    }
}

fn check_round_trip(conf: &ConfFile) {
    let values = values(conf);
    if values.values().any(|value| value.ends_with('\\')) {
        return;
    }
    // The format is recognized by the content, here by these options alone.
    let written: String = values
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let file = InMemory::new(written.as_bytes());
    let (again, diagnostics) = ConfFile::examine(&file.path(), None).expect("a file");
    if again.format() == conf.format() {
        assert_eq!(self::values(&again), values);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
    }
}

#[cfg(test)]
mod tests {
    use sso_core::fuzz_support::failing_inputs;

    #[test]
    fn committed_inputs_do_not_panic() {
        assert_eq!(
            failing_inputs("options", super::options),
            Vec::<String>::new()
        );
    }
}
