//! The configuration file under check, and the report that diagnostics are added to.

#![forbid(unsafe_code)]

use std::path::Path;

use super::diagnostic::{Diagnostic, Report, Severity, file_and_line};
use crate::imapd_conf::ConfFile;

/// One configuration file as one service reads it.
pub(crate) struct CheckContext<'a> {
    pub(crate) path: &'a Path,
    pub(crate) conf: &'a ConfFile,
    pub(crate) service: Option<&'a str>,
    /// The index of this file and service in [`Report::targets`].
    pub(crate) target: usize,
    pub(crate) report: &'a mut Report,
}

impl CheckContext<'_> {
    /// Adds a diagnostic about an option, given by its full name in the file. An empty name stands
    /// for the file as a whole.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        option: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (file, line) = file_and_line(self.conf.location(option), self.path);
        let diagnostic = Diagnostic {
            severity,
            file,
            line,
            option: (!option.is_empty()).then(|| option.to_owned()),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        self.report.add(Some(self.target), diagnostic);
    }

    /// Adds a diagnostic about an option of SASL, given by its own name. `what` is the problem, a
    /// semicolon, and the remedy.
    pub(crate) fn add_for_sasl(&mut self, severity: Severity, name: &str, what: &str) {
        let option = self.conf.written_name(name);
        let (problem, remedy) = match what.rsplit_once("; ") {
            Some(both) => both,
            None if severity == Severity::Note => (what, ""),
            None => (what, "see sasl-sso.conf(5)"),
        };
        self.add(severity, &option, problem, remedy);
    }
}
