//! Files that options stand in, before the fuzzer.

#![forbid(unsafe_code)]
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

use crate::imapd_conf::ConfFile;
use sso_core::config::{Config, is_option, names};
use sso_core::fuzz_support::input::parts;
use sso_core::fuzz_support::policy::InMemory;

/// What stands for the path of the file that is included.
const INCLUDED: &str = "INCLUDED";

/// An imapd.conf or a file of SASL, and perhaps one that it includes: with a fault in
/// it there is no configuration; and what was read, written anew, is read as the same.
pub fn options(data: &[u8]) {
    let mut files = parts(data);
    let main = String::from_utf8_lossy(files.next().unwrap_or_default());
    let included = InMemory::new(files.next().unwrap_or_default());
    let path = included.path().display().to_string();
    // Nothing else of this machine is read.
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
        let (conf, flaws) = ConfFile::examine(&main.path(), service).expect("a file");
        for flaw in &flaws {
            assert!(
                !flaw.problem.contains('\n') && !flaw.remedy.is_empty(),
                "{flaw:?}"
            );
        }
        let read = ConfFile::read(&main.path(), service);
        assert_eq!(read.is_err(), flaws.iter().any(|flaw| flaw.is_fault));
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

/// Either a configuration or faults, and each fault is of an option that there is.
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
        // What a session stands for is told by all of it.
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
    // Whose file it is, is told by what is in it: here, by that alone.
    let written: String = values
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    let file = InMemory::new(written.as_bytes());
    let (again, flaws) = ConfFile::examine(&file.path(), None).expect("a file");
    if again.format() == conf.format() {
        assert_eq!(self::values(&again), values);
        assert!(flaws.is_empty(), "{flaws:?}");
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
