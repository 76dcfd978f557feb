//! What is looked at: one file for one service, and where what is found goes.

#![forbid(unsafe_code)]

use std::path::Path;

use super::diagnostic::{Finding, Report, Severity, place};
use crate::imapd_conf::ConfFile;

/// A file as one service reads it.
pub(crate) struct Subject<'a> {
    pub(crate) path: &'a Path,
    pub(crate) conf: &'a ConfFile,
    pub(crate) service: Option<&'a str>,
    /// The index of both in [`Report::targets`].
    pub(crate) target: usize,
    pub(crate) report: &'a mut Report,
}

impl Subject<'_> {
    /// Something about an option by the name that it has, or would have, in the file.
    pub(crate) fn say(
        &mut self,
        severity: Severity,
        option: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (file, line) = place(self.conf.spot(option), self.path);
        let finding = Finding {
            severity,
            file,
            line,
            option: (!option.is_empty()).then(|| option.to_owned()),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        self.report.add(Some(self.target), finding);
    }

    /// The same of an option of SASL's, by its own name, with the remedy behind the
    /// last semicolon of what is wrong.
    pub(crate) fn say_of_sasl(&mut self, severity: Severity, name: &str, what: &str) {
        let option = self.conf.written(name);
        let (problem, remedy) = match what.rsplit_once("; ") {
            Some(both) => both,
            None if severity == Severity::Note => (what, ""),
            None => (what, "see sasl-sso.conf(5)"),
        };
        self.say(severity, &option, problem, remedy);
    }
}
