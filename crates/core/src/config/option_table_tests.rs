//! Tests that the table agrees with the code.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::config::{Config, Options, is_option};

const BOTH: [(&str, &str); 5] = [
    ("caspt_url", "https://cas.univ.fr/cas"),
    ("caspt_proxies", "https://webmail.univ.fr/*"),
    ("jwt_keys", "discovery"),
    ("jwt_issuer", "https://sso.univ.fr/realms/univ"),
    ("jwt_audience", "mail"),
];

/// Options that record which of them were read.
struct RecordingOptions {
    given: Vec<(String, String)>,
    names: RefCell<BTreeSet<String>>,
}

impl Options for RecordingOptions {
    fn get(&self, name: &str) -> Option<String> {
        self.names.borrow_mut().insert(name.to_owned());
        let found = self.given.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    }
}

fn both_and(more: &[(&str, &str)]) -> RecordingOptions {
    let given = BOTH.iter().chain(more);
    RecordingOptions {
        given: given
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        names: RefCell::default(),
    }
}

fn read(more: &[(&str, &str)]) -> String {
    format!("{:?}", Config::read(&both_and(more)).unwrap())
}

#[test]
fn table_has_exactly_the_options_that_are_read() {
    let asked = both_and(&[]);
    Config::read(&asked).unwrap();
    let table: BTreeSet<String> = OPTIONS.iter().map(|o| o.name.to_owned()).collect();
    let is_former = |name: &String| RENAMED.iter().any(|(former, _)| former == name);
    let mut read = asked.names.borrow().clone();
    read.retain(|name| !is_former(name));
    assert_eq!(read, table);
    assert_eq!(table.len(), OPTIONS.len(), "an option is there twice");
}

#[test]
fn issuers_have_the_options_of_the_table() {
    let given = BOTH[2..].iter().map(|(name, value)| {
        let name = name.replace("jwt_", "jwt_univ_");
        (name, (*value).to_owned())
    });
    let asked = RecordingOptions {
        given: given
            .chain([("jwt_issuers".to_owned(), "univ".to_owned())])
            .collect(),
        names: RefCell::default(),
    };
    Config::read(&asked).unwrap();
    let names = asked.names.borrow().clone();
    let read: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("jwt_univ_"))
        .collect();
    assert_eq!(read, of_issuer().filter_map(OptionSpec::rest).collect());
    assert!(
        read.iter()
            .all(|rest| is_option(&asked, &format!("jwt_univ_{rest}")))
    );
    assert!(!is_option(&asked, "jwt_portal_keys"));
    assert!(!is_option(&asked, "jwt_univ_issuers"));
}

#[test]
fn explicit_default_changes_nothing() {
    let silent = read(&[]);
    for option in OPTIONS {
        if let Is(value) = option.default {
            assert_eq!(read(&[(option.name, value)]), silent, "{}", option.name);
        }
    }
}

/// Without this test the one above could not fail.
#[test]
fn options_with_a_default_have_an_effect() {
    let silent = read(&[]);
    for option in OPTIONS {
        let other = match option.default {
            Means(_) => continue,
            Is("no") => "yes",
            Is(number) if number.parse::<u32>().is_ok() => "7",
            Is(path) if path.starts_with('/') => "/run/other",
            Is("same") => "any",
            Is(_) => "other",
        };
        assert_ne!(read(&[(option.name, other)]), silent, "{}", option.name);
    }
}

/// A number outside its limits disables all mechanisms, so the limits must be documented.
#[test]
fn limits_of_numbers_are_documented() {
    let numbers = OPTIONS.iter().filter(|option| {
        let Is(default) = option.default else {
            return false;
        };
        default.parse::<u32>().is_ok()
    });
    let mut told = 0;
    for option in numbers {
        let faults = Config::read(&both_and(&[(option.name, "-1")])).unwrap_err();
        let fault = faults.iter().find(|fault| fault.option == option.name);
        let problem = &fault.unwrap().problem;
        let (_, limits) = problem.split_once("whole number from ").unwrap();
        let meaning = option.meaning;
        assert!(
            meaning.contains(&format!("({limits})")),
            "{limits}: {meaning}"
        );
        told += 1;
    }
    assert_eq!(told, 10);
}

#[test]
fn names_have_only_characters_that_all_hosts_allow() {
    for OptionSpec { name, .. } in OPTIONS {
        let may_be = |b: u8| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(name.bytes().all(may_be), "{name}");
    }
}

/// The manual page and the reference split meanings at the backquotes.
#[test]
fn meanings_have_paired_backquotes() {
    for OptionSpec {
        name,
        default,
        meaning,
        ..
    } in OPTIONS
    {
        let (Is(default) | Means(default)) = default;
        for text in [*default, *meaning] {
            assert_eq!(text.matches('`').count() % 2, 0, "{name}");
            assert!(
                !text.contains("  ") && !text.contains('\n') && !text.ends_with('.'),
                "{name}"
            );
        }
    }
}

#[test]
fn former_name_is_read_with_a_warning() {
    let config = Config::read(&both_and(&[("caspt_budget", "70")])).unwrap();
    assert_eq!(config.cas.unwrap().rate_limit, 70);
    let [warning] = &config.warnings[..] else {
        panic!("{:?}", config.warnings);
    };
    assert_eq!(warning.option, "caspt_budget");
    assert!(warning.problem.contains("caspt_rate_limit"), "{warning}");
    assert_eq!(Config::read(&both_and(&[])).unwrap().warnings, []);
}

#[test]
fn current_and_former_name_together_are_a_fault() {
    let both = [("caspt_budget", "70"), ("caspt_rate_limit", "70")];
    let faults = Config::read(&both_and(&both)).unwrap_err();
    let [fault] = &faults[..] else {
        panic!("{faults:?}");
    };
    assert_eq!(fault.option, "caspt_budget");
    assert!(fault.problem.contains("remove"), "{fault}");
}

#[test]
fn former_names_are_no_names_of_options() {
    for (former, current) in RENAMED {
        assert!(OPTIONS.iter().all(|option| option.name != former));
        assert!(OPTIONS.iter().any(|option| option.name == current));
    }
}
