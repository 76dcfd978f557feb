//! Parses options by type. A value that does not parse is a fault, and never replaced by the
//! default.
//!
//! With several issuers, the options of one contain its name: a reader [for the
//! issuer](Reader::of_issuer) `univ` reads `jwt_univ_keys` when it is asked for `jwt_keys`.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Options, RENAMED};
use crate::policy::attribute_rules::Rules;

pub(crate) struct Reader<'a> {
    options: &'a dyn Options,
    issuer: Option<String>,
    faults: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(options: &'a dyn Options) -> Self {
        Self {
            options,
            issuer: None,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The faults and the warnings so far.
    pub(crate) fn problems(self) -> (Vec<ConfigError>, Vec<ConfigError>) {
        (self.faults, self.warnings)
    }

    /// The name by which the option `name` is set: a former one of [`RENAMED`], with a warning, if
    /// only that is set. It is a fault if both are set.
    pub(crate) fn current_or_former(&mut self, name: &'static str) -> &'static str {
        let set = RENAMED
            .iter()
            .find(|(former, current)| *current == name && self.text(former).is_some());
        let Some((former, _)) = set else {
            return name;
        };
        if self.text(name).is_some() {
            let what = format!("is the former name of {name}, which is set too; remove {former}");
            self.fault(former, what);
            return name;
        }
        self.warnings.push(ConfigError {
            option: Cow::Borrowed(former),
            problem: format!("is now called {name}; the next release ignores the former name"),
        });
        former
    }

    /// Calls `read` for the options of one issuer among several, or of the only one.
    pub(crate) fn of_issuer<T>(
        &mut self,
        issuer: Option<&str>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.issuer = issuer.map(str::to_owned);
        let read = read(self);
        self.issuer = None;
        read
    }

    /// The full name of an option, for reading it and for its faults.
    fn full_name(&self, name: &'static str) -> Cow<'static, str> {
        match (&self.issuer, name.strip_prefix("jwt_")) {
            (Some(issuer), Some(rest)) => Cow::Owned(format!("jwt_{issuer}_{rest}")),
            _ => Cow::Borrowed(name),
        }
    }

    pub(crate) fn fault(&mut self, option: &'static str, problem: impl Into<String>) {
        self.faults.push(ConfigError {
            option: self.full_name(option),
            problem: problem.into(),
        });
    }

    /// The value without surrounding white space. An empty value counts as not set.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        let value = self.options.get(&self.full_name(name))?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(crate) fn words(&self, name: &'static str) -> Vec<String> {
        let value = self.text(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        if !path.is_absolute() {
            self.fault(name, "is not an absolute path; begin it with /");
        }
        Some(path)
    }

    /// Reads a switch, with the words that Cyrus accepts.
    pub(crate) fn switch(&mut self, name: &'static str) -> bool {
        let Some(text) = self.text(name) else {
            return false;
        };
        is_on(&text).unwrap_or_else(|| {
            let text = text.to_ascii_lowercase();
            self.fault(name, format!("\"{text}\" is neither yes nor no"));
            false
        })
    }

    /// Reads one of `choices`; the default if the option is not set.
    pub(crate) fn choice<T: Copy + Default>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = self.text(name) else {
            return T::default();
        };
        let lower = text.to_ascii_lowercase();
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == lower) {
            return *choice;
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.fault(
            name,
            format!("\"{text}\" is not one of {}", words.join(", ")),
        );
        T::default()
    }

    pub(crate) fn number(
        &mut self,
        name: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        let Some(text) = self.text(name) else {
            return default;
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                self.fault(
                    name,
                    format!("\"{text}\" is not a whole number from {least} to {most}"),
                );
                default
            }
        }
    }

    pub(crate) fn seconds(
        &mut self,
        name: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Duration {
        Duration::from_secs(self.number(name, default, range) as u64)
    }

    pub(crate) fn rules(&mut self, name: &'static str) -> Rules {
        let (rules, problems) = Rules::parse(&self.text(name).unwrap_or_default());
        for problem in problems {
            self.fault(name, problem);
        }
        rules
    }
}

/// The value of a switch in the words of Cyrus (imapd.conf(5)); `None` for any other text.
pub fn is_on(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "no" | "n" | "off" | "false" | "f" | "0" => Some(false),
        "yes" | "y" | "on" | "true" | "t" | "1" => Some(true),
        _ => None,
    }
}
