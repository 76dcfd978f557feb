//! Diagnostics and the report: lines for people, or one JSON document for programs (documented in
//! the parent module).

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::offered_mechanisms::Offer;
use crate::imapd_conf::{FileDiagnostic, Location};
use crate::term::console::{plain, styled};

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The host application does not start, no mechanism is offered, no user can log in, or a
    /// policy differs from what the file seems to say.
    Fault,
    /// The configuration works, but perhaps not as intended, or not for long.
    Warning,
    /// Information.
    Note,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Fault => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Note => Style::new(),
        }
    }
}

/// A fault, warning or note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) file: PathBuf,
    pub(crate) line: Option<usize>,
    /// The full name of the option, as it is or would be written in the file.
    pub(crate) option: Option<String>,
    pub(crate) problem: String,
    /// Empty if the problem includes the remedy.
    pub(crate) remedy: String,
}

/// A diagnostic, and the targets that it applies to.
#[derive(Debug)]
struct Entry {
    diagnostic: Diagnostic,
    /// Indexes into [`Report::targets`]; empty if the diagnostic is about the command line.
    targets: Vec<usize>,
}

impl Diagnostic {
    pub(crate) fn of_file_diagnostic(diagnostic: &FileDiagnostic) -> Self {
        Self {
            severity: match diagnostic.is_fault {
                true => Severity::Fault,
                false => Severity::Warning,
            },
            file: diagnostic.location.file.clone(),
            line: Some(diagnostic.location.line),
            option: (!diagnostic.option.is_empty()).then(|| diagnostic.option.clone()),
            problem: diagnostic.problem.clone(),
            remedy: diagnostic.remedy.to_owned(),
        }
    }

    /// Whether two diagnostics report the same problem for different services.
    fn is_same(&self, other: &Self) -> bool {
        let of = |one: &Self| (one.severity, one.line, one.option.clone());
        of(self) == of(other) && self.file == other.file && self.problem == other.problem
    }

    fn json(&self, services: &[&str]) -> Value {
        json!({
            "severity": self.severity.name(),
            "file": self.file.to_string_lossy(),
            "line": self.line,
            "option": self.option,
            "service": match services {
                [only] => Some(only),
                _ => None,
            },
            "services": services,
            "problem": self.problem,
            "remedy": self.remedy,
        })
    }

    /// The line for people. It lists the services, unless all services are affected.
    fn line(&self, services: &[&str]) -> String {
        let mut line = self.file.display().to_string();
        if let Some(number) = self.line {
            line += &format!(":{number}");
        }
        if !services.is_empty() {
            line += &format!(" for {}", services.join(", "));
        }
        let severity = styled(self.severity.style(), self.severity.name());
        line += &format!(": {severity}: ");
        if let Some(option) = &self.option {
            line += &format!("{option}: ");
        }
        // Some problems quote text from servers.
        line += &plain(&self.problem);
        if !self.remedy.is_empty() {
            line += &format!("; {}", plain(&self.remedy));
        }
        line
    }
}

/// The result of a check.
#[derive(Debug, Default)]
pub(crate) struct Report {
    entries: Vec<Entry>,
    /// The files and services that were checked.
    pub(crate) targets: Vec<(PathBuf, Option<String>)>,
    /// Whether a cyrus.conf lists the services.
    pub(crate) knows_services: bool,
    pub(crate) offers: Vec<Offer>,
    /// The answers of servers: a line for people, and a JSON object.
    pub(crate) online: Vec<(String, Value)>,
}

impl Report {
    /// Adds a diagnostic about a target. If it was reported for another target before, the target
    /// is added to that diagnostic.
    pub(crate) fn add(&mut self, target: Option<usize>, diagnostic: Diagnostic) {
        let known = self.entries.iter_mut();
        match known
            .into_iter()
            .find(|one| one.diagnostic.is_same(&diagnostic))
        {
            Some(entry) => entry.targets.extend(target),
            None => self.entries.push(Entry {
                diagnostic,
                targets: target.into_iter().collect(),
            }),
        }
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        let of_it = |one: &&Entry| one.diagnostic.severity == severity;
        self.entries.iter().filter(of_it).count()
    }

    /// The number of faults of one target.
    pub(crate) fn faults_of(&self, target: usize) -> usize {
        let of_it = |one: &&Entry| {
            one.diagnostic.severity == Severity::Fault && one.targets.contains(&target)
        };
        self.entries.iter().filter(of_it).count()
    }

    /// The services that a diagnostic applies to; empty if it applies to all services that read the
    /// file.
    fn services(&self, entry: &Entry) -> Vec<&str> {
        let targets: Vec<_> = entry
            .targets
            .iter()
            .map(|index| &self.targets[*index])
            .collect();
        let is_peer =
            |(file, _): &&(PathBuf, Option<String>)| targets.iter().any(|(known, _)| known == file);
        let peers: Vec<_> = self.targets.iter().filter(is_peer).collect();
        let is_general = targets.iter().any(|(_, service)| service.is_none());
        let is_of_all = peers.len() > 1 && peers.iter().all(|peer| targets.contains(peer));
        if is_of_all || is_general && !self.knows_services {
            return Vec::new();
        }
        let mut services: Vec<&str> = Vec::new();
        for service in targets.iter().filter_map(|(_, service)| service.as_deref()) {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        services
    }

    /// Sorts by severity, the worst first, then by file and line.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_by(|one, other| {
            let key = |one: &Entry| {
                let diagnostic = &one.diagnostic;
                (
                    diagnostic.severity,
                    diagnostic.file.clone(),
                    diagnostic.line,
                )
            };
            key(one).cmp(&key(other))
        });
    }

    /// One line for each diagnostic.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let line = |entry: &Entry| entry.diagnostic.line(&self.services(entry));
        self.entries.iter().map(line)
    }

    /// The document of `--json`.
    pub(crate) fn json(&self, file: &Path) -> Value {
        let status = match (self.count(Severity::Fault), self.count(Severity::Warning)) {
            (0, 0) => "good",
            (0, _) => "warnings",
            _ => "faults",
        };
        let diagnostic = |entry: &Entry| entry.diagnostic.json(&self.services(entry));
        json!({
            "file": file.to_string_lossy(),
            "status": status,
            "findings": self.entries.iter().map(diagnostic).collect::<Vec<_>>(),
            "offered": self.offers.iter().map(Offer::json).collect::<Vec<_>>(),
            "online": self.online.iter().map(|(_, json)| json).filter(|json| !json.is_null()).collect::<Vec<_>>(),
        })
    }
}

/// The file and line of `location`, or the file alone.
pub(crate) fn file_and_line(location: Option<&Location>, file: &Path) -> (PathBuf, Option<usize>) {
    match location {
        Some(location) => (location.file.clone(), Some(location.line)),
        None => (file.to_owned(), None),
    }
}
