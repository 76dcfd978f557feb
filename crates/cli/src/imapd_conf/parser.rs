//! The options of a file and of those that it includes, with all that is wrong.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::PREFIXES;
use super::diagnostic::{Flaw, Spot};
use super::lexer::{Format, Line, is_space, swallowed, whole_lines};

/// The longest line that libsasl2 reads of a file of its own, in bytes.
const LONGEST_LINE: usize = 4_095;

/// A value, and where it stands.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) spot: Spot,
}

/// What was read so far.
pub(crate) struct Reading {
    pub(crate) values: BTreeMap<String, Entry>,
    pub(crate) flaws: Vec<Flaw>,
    pub(crate) format: Format,
    /// The names of the files, as they were written: that is how imapd tells
    /// whether it has read one before.
    seen: HashSet<PathBuf>,
}

impl Reading {
    /// All of a file.
    ///
    /// # Errors
    /// That it cannot be read.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        let text = read(path)?;
        let mut reading = Self {
            values: BTreeMap::new(),
            flaws: Vec::new(),
            format: Format::of(&text),
            seen: HashSet::from([path.to_owned()]),
        };
        reading.take(path, &text);
        Ok(reading)
    }

    fn take(&mut self, path: &Path, text: &str) {
        for (number, name) in swallowed(text, self.format) {
            let what = "the line before it ends in \\, and this is a part of that";
            let spot = Spot::new(path, number);
            self.fault(&spot, &name, what, "take the \\ out");
        }
        for line in whole_lines(text, self.format) {
            let spot = Spot::new(path, line.number);
            if line.is_dropped {
                let what = "ends in \\ at the end of the file, and imapd drops it";
                self.fault(&spot, "", what, "take the \\ out");
            } else {
                self.take_line(spot, &line);
            }
        }
    }

    fn take_line(&mut self, spot: Spot, line: &Line) {
        let Some((key, value)) = self.split(&spot, &line.text) else {
            return;
        };
        if value.is_empty() {
            let remedy = "give it a value or take it out";
            return self.fault(&spot, &key, "has no value", remedy);
        }
        if self.format == Format::Sasl && line.text.len() > LONGEST_LINE {
            let what = "is longer than the 4095 bytes that libsasl2 reads of a line";
            return self.fault(&spot, &key, what, "make it shorter");
        }
        if key.starts_with('@') {
            return self.directive(&spot, &key, &value);
        }
        match self.values.get(&key) {
            None => drop(self.values.insert(key, Entry { value, spot })),
            Some(first) => {
                let what = format!("is there twice, first at {}", first.spot);
                let is_fault = self.format == Format::Imapd
                    || PREFIXES.iter().any(|prefix| key.starts_with(prefix));
                self.flaw(is_fault, &spot, &key, &what, "take one of them out");
            }
        }
    }

    /// The name in lower case and the value, or `None` if there is no name.
    fn split(&mut self, spot: &Spot, text: &str) -> Option<(String, String)> {
        let is_directive = self.format == Format::Imapd && text.starts_with('@');
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = &text[usize::from(is_directive)..];
        let length = name.find(|c| !is_letter(c)).unwrap_or(name.len());
        let (key, rest) = text.split_at(length + usize::from(is_directive));
        let Some(value) = rest.strip_prefix(':').filter(|_| !key.is_empty()) else {
            let shown = text.split(':').next().unwrap_or_default();
            let shown: String = shown.chars().take(40).collect();
            let what = match text.contains(':') {
                true => format!("\"{}\" is no name of an option", shown.escape_debug()),
                false => "is no option: there is no colon in it".to_owned(),
            };
            let remedy = match rest.trim_start_matches(is_space).starts_with(':') {
                true => "write the colon right behind the name",
                false if text.starts_with('\u{feff}') => "save the file without a byte order mark",
                false => "write name: value, the name of letters, digits, _ and -",
            };
            self.fault(spot, "", &what, remedy);
            return None;
        };
        Some((
            key.to_ascii_lowercase(),
            value.trim_matches(is_space).to_owned(),
        ))
    }

    fn directive(&mut self, spot: &Spot, key: &str, value: &str) {
        if key != "@include" {
            let remedy = "the only one there is, is @include";
            return self.fault(spot, key, "is no directive of imapd's", remedy);
        }
        let path = Path::new(value);
        if !path.is_absolute() {
            let what = "is looked for in the directory that Cyrus was started in";
            self.flaw(false, spot, key, what, "write the whole path");
        }
        match read(path) {
            Err(problem) => self.fault(spot, key, &problem, "make it readable or take it out"),
            Ok(_) if !self.seen.insert(path.to_owned()) => {
                let what = format!("{value} is included twice");
                self.fault(spot, key, &what, "take one of them out");
            }
            Ok(text) => self.take(path, &text),
        }
    }

    fn fault(&mut self, spot: &Spot, option: &str, problem: &str, remedy: &'static str) {
        self.flaw(true, spot, option, problem, remedy);
    }

    fn flaw(
        &mut self,
        is_fault: bool,
        spot: &Spot,
        option: &str,
        problem: &str,
        remedy: &'static str,
    ) {
        self.flaws.push(Flaw {
            spot: spot.clone(),
            option: option.to_owned(),
            problem: problem.to_owned(),
            remedy,
            is_fault,
        });
    }
}

/// What is not UTF-8, in a comment say, is no matter to the hosts.
fn read(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
