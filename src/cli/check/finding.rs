//! What was found, and how it is told: a line for people, or one JSON document for
//! programs (see the module's documentation).

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::cli::conf_file::{Flaw, Spot};
use crate::cli::console::{plain, styled};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
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
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) file: PathBuf,
    pub(super) line: Option<usize>,
    /// As it is, or would be, written.
    pub(super) option: Option<String>,
    /// The service that alone has it.
    pub(super) service: Option<String>,
    pub(super) problem: String,
    /// Empty if the problem says it.
    pub(super) remedy: String,
}

impl Finding {
    pub(super) fn of_flaw(flaw: &Flaw) -> Self {
        Self {
            severity: match flaw.is_fault {
                true => Severity::Fault,
                false => Severity::Warning,
            },
            file: flaw.spot.file.clone(),
            line: Some(flaw.spot.line),
            option: (!flaw.option.is_empty()).then(|| flaw.option.clone()),
            service: None,
            problem: flaw.problem.clone(),
            remedy: flaw.remedy.to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "severity": self.severity.name(),
            "file": self.file.to_string_lossy(),
            "line": self.line,
            "option": self.option,
            "service": self.service,
            "problem": self.problem,
            "remedy": self.remedy,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(service) = &self.service {
            write!(f, " for {service}")?;
        }
        let severity = styled(self.severity.style(), self.severity.name());
        write!(f, ": {severity}: ")?;
        if let Some(option) = &self.option {
            write!(f, "{option}: ")?;
        }
        // What servers say is in some of them.
        write!(f, "{}", plain(&self.problem))?;
        match &*self.remedy {
            "" => Ok(()),
            remedy => write!(f, "; {}", plain(remedy)),
        }
    }
}

/// The mechanisms that one service offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) file: PathBuf,
    pub(super) service: Option<String>,
    pub(super) mechanisms: Vec<&'static str>,
    pub(super) sasl: &'static str,
    /// Whether the plugin refuses the options as a whole.
    pub(super) is_refused: bool,
    /// Whether there are any, listed or not.
    pub(super) is_configured: bool,
}

impl Offer {
    /// For whom it is, in front of a line.
    pub(super) fn label(&self) -> String {
        match &self.service {
            Some(service) => format!("{} for {service}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sasl = self.sasl;
        match &self.mechanisms[..] {
            [] if self.is_refused => write!(f, "nothing is offered as long as there are faults"),
            [] if self.is_configured => {
                write!(f, "nothing is offered: {sasl}mech_list has none of it")
            }
            [] => write!(
                f,
                "nothing is offered: neither {sasl}caspt_url nor {sasl}jwt_keys is set"
            ),
            [only] => write!(f, "{only} is offered"),
            [all @ .., last] => write!(f, "{} and {last} are offered", all.join(", ")),
        }
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) offers: Vec<Offer>,
    /// What servers answered: a line for people, and its JSON.
    pub(super) online: Vec<(String, Value)>,
}

impl Report {
    /// Adds a finding, unless it is known: what holds for all services is told once.
    pub(super) fn add(&mut self, finding: Finding) {
        let is_same = |known: &Finding| {
            let of = |one: &Finding| (one.severity, one.line, one.option.clone());
            of(known) == of(&finding)
                && known.file == finding.file
                && known.problem == finding.problem
        };
        if !self.findings.iter().any(is_same) {
            self.findings.push(finding);
        }
    }

    pub(super) fn count(&self, severity: Severity) -> usize {
        let of_it = self.findings.iter().filter(|one| one.severity == severity);
        of_it.count()
    }

    /// Puts what is worst first, and in the order of the file.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|one, other| {
            let key = |one: &Finding| (one.severity, one.file.clone(), one.line);
            key(one).cmp(&key(other))
        });
    }

    /// The document of `--json`.
    pub(super) fn json(&self, file: &Path) -> Value {
        let status = match (self.count(Severity::Fault), self.count(Severity::Warning)) {
            (0, 0) => "good",
            (0, _) => "warnings",
            _ => "faults",
        };
        let offered = self.offers.iter().map(|offer| {
            json!({
                "file": offer.file.to_string_lossy(),
                "service": offer.service,
                "mechanisms": offer.mechanisms,
            })
        });
        json!({
            "file": file.to_string_lossy(),
            "status": status,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "offered": offered.collect::<Vec<_>>(),
            "online": self.online.iter().map(|(_, json)| json).filter(|json| !json.is_null()).collect::<Vec<_>>(),
        })
    }
}

/// Where a finding belongs: a place in a file, or the file.
pub(super) fn place(spot: Option<&Spot>, file: &Path) -> (PathBuf, Option<usize>) {
    match spot {
        Some(spot) => (spot.file.clone(), Some(spot.line)),
        None => (file.to_owned(), None),
    }
}
