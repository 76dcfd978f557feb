//! What was found, and how it is told: a line for people, or one JSON document for
//! programs (see the module's documentation).

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::offered_mechanisms::Offer;
use crate::imapd_conf::{Flaw, Spot};
use crate::term::console::{plain, styled};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The host does not start, or nothing is offered, or nobody can log in, or a
    /// policy is not what it seems to be.
    Fault,
    /// It works, but perhaps not as it was meant, or not for long.
    Warning,
    /// Something to know.
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

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) file: PathBuf,
    pub(crate) line: Option<usize>,
    /// As it is, or would be, written.
    pub(crate) option: Option<String>,
    pub(crate) problem: String,
    /// Empty if the problem says it.
    pub(crate) remedy: String,
}

/// A finding, and for which targets it was found.
#[derive(Debug)]
struct Entry {
    finding: Finding,
    /// Indexes into [`Report::targets`]; none for what is about the command itself.
    targets: Vec<usize>,
}

impl Finding {
    pub(crate) fn of_flaw(flaw: &Flaw) -> Self {
        Self {
            severity: match flaw.is_fault {
                true => Severity::Fault,
                false => Severity::Warning,
            },
            file: flaw.spot.file.clone(),
            line: Some(flaw.spot.line),
            option: (!flaw.option.is_empty()).then(|| flaw.option.clone()),
            problem: flaw.problem.clone(),
            remedy: flaw.remedy.to_owned(),
        }
    }

    /// Whether two findings are the same thing, found for two services.
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

    /// The line for people, with the services that it concerns unless that is all of
    /// them.
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
        // What servers say is in some of them.
        line += &plain(&self.problem);
        if !self.remedy.is_empty() {
            line += &format!("; {}", plain(&self.remedy));
        }
        line
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    entries: Vec<Entry>,
    /// The files and services that were checked.
    pub(crate) targets: Vec<(PathBuf, Option<String>)>,
    /// Whether cyrus.conf says which services there are.
    pub(crate) knows_services: bool,
    pub(crate) offers: Vec<Offer>,
    /// What servers answered: a line for people, and its JSON.
    pub(crate) online: Vec<(String, Value)>,
}

impl Report {
    /// Adds a finding about a target. What was found for another one as well is told
    /// once, for both.
    pub(crate) fn add(&mut self, target: Option<usize>, finding: Finding) {
        let known = self.entries.iter_mut();
        match known.into_iter().find(|one| one.finding.is_same(&finding)) {
            Some(entry) => entry.targets.extend(target),
            None => self.entries.push(Entry {
                finding,
                targets: target.into_iter().collect(),
            }),
        }
    }

    pub(crate) fn count(&self, severity: Severity) -> usize {
        let of_it = |one: &&Entry| one.finding.severity == severity;
        self.entries.iter().filter(of_it).count()
    }

    /// How many faults were found for a target.
    pub(crate) fn faults_of(&self, target: usize) -> usize {
        let of_it =
            |one: &&Entry| one.finding.severity == Severity::Fault && one.targets.contains(&target);
        self.entries.iter().filter(of_it).count()
    }

    /// The services that a finding concerns; none if it concerns all that read the
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

    /// Puts what is worst first, and in the order of the file.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_by(|one, other| {
            let key = |one: &Entry| {
                let finding = &one.finding;
                (finding.severity, finding.file.clone(), finding.line)
            };
            key(one).cmp(&key(other))
        });
    }

    /// The findings, each in a line for people.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let line = |entry: &Entry| entry.finding.line(&self.services(entry));
        self.entries.iter().map(line)
    }

    /// The document of `--json`.
    pub(crate) fn json(&self, file: &Path) -> Value {
        let status = match (self.count(Severity::Fault), self.count(Severity::Warning)) {
            (0, 0) => "good",
            (0, _) => "warnings",
            _ => "faults",
        };
        let finding = |entry: &Entry| entry.finding.json(&self.services(entry));
        json!({
            "file": file.to_string_lossy(),
            "status": status,
            "findings": self.entries.iter().map(finding).collect::<Vec<_>>(),
            "offered": self.offers.iter().map(Offer::json).collect::<Vec<_>>(),
            "online": self.online.iter().map(|(_, json)| json).filter(|json| !json.is_null()).collect::<Vec<_>>(),
        })
    }
}

/// Where a finding belongs: a place in a file, or the file.
pub(crate) fn place(spot: Option<&Spot>, file: &Path) -> (PathBuf, Option<usize>) {
    match spot {
        Some(spot) => (spot.file.clone(), Some(spot.line)),
        None => (file.to_owned(), None),
    }
}
