//! Reads the options and the faults of a file and of the files that it includes.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::PREFIXES;
use super::diagnostic::{FileDiagnostic, Location};
use super::lexer::{Format, LogicalLine, continued_options, is_space, logical_lines};

/// The maximum length of a line that libsasl2 reads from its own file, in bytes.
const MAX_SASL_LINE_BYTES: usize = 4_095;

/// The value of an option and its location.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) location: Location,
}

/// The result of parsing.
pub(crate) struct ParsedFile {
    pub(crate) values: BTreeMap<String, Entry>,
    pub(crate) diagnostics: Vec<FileDiagnostic>,
    pub(crate) format: Format,
    /// The paths of the files as they were written: imapd compares these to detect a file that is
    /// included twice.
    seen: HashSet<PathBuf>,
}

impl ParsedFile {
    /// Parses a file and the files that it includes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read_text(path)?;
        let mut parsed = Self {
            values: BTreeMap::new(),
            diagnostics: Vec::new(),
            format: Format::detect(&text),
            seen: HashSet::from([path.to_owned()]),
        };
        parsed.parse_text(path, &text);
        Ok(parsed)
    }

    fn parse_text(&mut self, path: &Path, text: &str) {
        for (number, name) in continued_options(text, self.format) {
            let what = "the line before it ends in \\, and this is a part of that";
            let location = Location::new(path, number);
            self.add_fault(&location, &name, what, "take the \\ out");
        }
        for line in logical_lines(text, self.format) {
            let location = Location::new(path, line.number);
            if line.is_dropped {
                let what = "ends in \\ at the end of the file, and imapd drops it";
                self.add_fault(&location, "", what, "take the \\ out");
            } else {
                self.parse_line(location, &line);
            }
        }
    }

    fn parse_line(&mut self, location: Location, line: &LogicalLine) {
        let Some((key, value)) = self.split(&location, &line.text) else {
            return;
        };
        if value.is_empty() {
            let remedy = "give it a value or take it out";
            return self.add_fault(&location, &key, "has no value", remedy);
        }
        if self.format == Format::Sasl && line.text.len() > MAX_SASL_LINE_BYTES {
            let what = "is longer than the 4095 bytes that libsasl2 reads of a line";
            return self.add_fault(&location, &key, what, "make it shorter");
        }
        if key.starts_with('@') {
            return self.directive(&location, &key, &value);
        }
        match self.values.get(&key) {
            None => drop(self.values.insert(key, Entry { value, location })),
            Some(first) => {
                let what = format!("is there twice, first at {}", first.location);
                let is_fault = self.format == Format::Imapd
                    || PREFIXES.iter().any(|prefix| key.starts_with(prefix));
                self.add_diagnostic(is_fault, &location, &key, &what, "take one of them out");
            }
        }
    }

    /// Splits a line into the name in lower case and the value; `None` if it has no valid name.
    fn split(&mut self, location: &Location, text: &str) -> Option<(String, String)> {
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
            self.add_fault(location, "", &what, remedy);
            return None;
        };
        Some((
            key.to_ascii_lowercase(),
            value.trim_matches(is_space).to_owned(),
        ))
    }

    fn directive(&mut self, location: &Location, key: &str, value: &str) {
        if key != "@include" {
            let remedy = "the only one there is, is @include";
            return self.add_fault(location, key, "is no directive of imapd's", remedy);
        }
        let path = Path::new(value);
        if !path.is_absolute() {
            let what = "is looked for in the directory that Cyrus was started in";
            self.add_diagnostic(false, location, key, what, "write the whole path");
        }
        match read_text(path) {
            Err(problem) => {
                self.add_fault(location, key, &problem, "make it readable or take it out")
            }
            Ok(_) if !self.seen.insert(path.to_owned()) => {
                let what = format!("{value} is included twice");
                self.add_fault(location, key, &what, "take one of them out");
            }
            Ok(text) => self.parse_text(path, &text),
        }
    }

    fn add_fault(
        &mut self,
        location: &Location,
        option: &str,
        problem: &str,
        remedy: &'static str,
    ) {
        self.add_diagnostic(true, location, option, problem, remedy);
    }

    fn add_diagnostic(
        &mut self,
        is_fault: bool,
        location: &Location,
        option: &str,
        problem: &str,
        remedy: &'static str,
    ) {
        self.diagnostics.push(FileDiagnostic {
            location: location.clone(),
            option: option.to_owned(),
            problem: problem.to_owned(),
            remedy,
            is_fault,
        });
    }
}

/// Reads a file. Host applications accept bytes that are not UTF-8, for example in comments.
fn read_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
