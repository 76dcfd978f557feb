//! The output of `explain`, as text and as JSON.

#![forbid(unsafe_code)]

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::conclusion::Conclusion;
use super::credential_input::CredentialInput;
use super::remedy::remedy;
use super::{Explanation, first_failure};
use crate::commands::ExitStatus;
use crate::term::console::{Console, styled};
use sso_core::auth::login_event::LoginEvent;
use sso_core::credential::CredentialKind;
use sso_core::error::{Failure, FailureKind};
use sso_core::trace::{CheckRecord, CheckResult, Step};

/// One line of the report: a step, its result, and what was compared.
struct Line {
    step: &'static str,
    outcome: &'static str,
    actual: String,
    expected: String,
    failure: Option<(&'static str, String)>,
}

/// The report about one credential. It does not contain the credential.
pub(crate) struct Report {
    kind: &'static str,
    service: String,
    lines: Vec<Line>,
    notes: Vec<String>,
    /// The stable word for the outcome.
    outcome: &'static str,
    user: Option<String>,
    /// The step, the failure and its printable detail, if the login fails.
    failure: Option<(Option<&'static str>, Failure, String)>,
    log: Option<String>,
    status: ExitStatus,
}

impl Report {
    pub(crate) fn new(
        explanation: Explanation,
        conclusion: Conclusion,
        input: &CredentialInput,
    ) -> Self {
        let printable = |text: &str| input.printable(text);
        let mechanism = explanation.mechanism;
        let kind = match explanation.kind {
            CredentialKind::Ticket => "ticket",
            CredentialKind::Token => "token",
        };
        let records = explanation.records.into_inner();
        let mut lines: Vec<Line> = records
            .iter()
            .map(|record| Line::new(record, printable))
            .collect();
        let is_reached = |step: &Step| records.iter().any(|record| record.step == *step);
        let steps = steps(explanation.kind).iter();
        let not_reached = steps.filter(|step| !is_reached(step));
        lines.extend(not_reached.map(|step| Line::not_reached(*step)));
        let mut notes: Vec<String> = explanation
            .notes
            .into_inner()
            .iter()
            .map(|line| printable(line))
            .collect();
        notes.extend(conclusion.notes());
        let Conclusion {
            user,
            source,
            key,
            elapsed,
            has_host,
            is_offered,
            ..
        } = conclusion;
        let failure = user.as_ref().and_then(|user| user.as_ref().err());
        let event = user.as_ref().map(|user| LoginEvent {
            mechanism,
            service: &explanation.service,
            client: explanation.client.as_deref(),
            outcome: user.as_ref().map(String::as_str),
            source,
            key: key.filter(|_| has_host),
            kind: Some(explanation.kind),
            elapsed,
        });
        let (outcome, status) = match &user {
            None if !is_offered => ("not_offered", ExitStatus::Failure),
            None => ("not_asked", ExitStatus::Error),
            Some(Ok(_)) => ("accepted", ExitStatus::Success),
            Some(Err(failure)) => outcome_of(failure.kind()),
        };
        Self {
            kind,
            lines,
            notes,
            outcome,
            failure: failure.map(|failure| {
                let step = first_failure(&records)
                    .filter(|(_, first)| first.reason() == failure.reason())
                    .map(|(step, _)| step.word());
                (step, failure.clone(), printable(failure.detail()))
            }),
            log: event.map(|event| printable(&event.line())),
            user: user.and_then(Result::ok),
            service: explanation.service,
            status,
        }
    }

    pub(crate) fn status(&self) -> ExitStatus {
        self.status
    }

    /// Prints the report as text.
    pub(crate) fn print(&self, console: &mut Console) {
        console.line(format_args!("A {} for {}", self.kind, self.service));
        console.line("");
        let width = self.lines.iter().map(|line| line.step.len()).max();
        for line in &self.lines {
            line.print(width.unwrap_or_default(), console);
        }
        console.line("");
        let color = match self.status {
            ExitStatus::Success => AnsiColor::Green,
            ExitStatus::Failure => AnsiColor::Red,
            ExitStatus::Error => AnsiColor::Yellow,
        };
        let outcome = styled(
            Style::new().bold().fg_color(Some(color.into())),
            self.outcome,
        );
        match (&self.user, &self.failure) {
            (Some(user), _) => console.line(format_args!("{outcome}: {user}")),
            (None, Some((_, failure, detail))) => {
                let reason = failure.reason();
                console.line(format_args!("{outcome}: {}: {detail}", reason.code()));
                console.line(format_args!("  what to do: {}", remedy(failure)));
            }
            (None, None) => console.line(&outcome),
        }
        if let Some(log) = &self.log {
            console.line(format_args!("  in the log: {log}"));
        }
        for note in &self.notes {
            console.line(format_args!("  note: {note}"));
        }
    }

    /// Returns the report as JSON.
    pub(crate) fn json(&self) -> Value {
        let failure = self.failure.as_ref();
        json!({
            "credential": self.kind,
            "service": self.service,
            "outcome": self.outcome,
            "user": self.user,
            "step": failure.and_then(|(step, _, _)| *step),
            "reason": failure.map(|(_, failure, _)| failure.reason().code()),
            "detail": failure.map(|(_, _, detail)| detail),
            "remedy": failure.map(|(_, failure, _)| remedy(failure)),
            "log": self.log,
            "steps": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

impl Line {
    fn new(record: &CheckRecord, printable: impl Fn(&str) -> String) -> Self {
        Self {
            step: record.step.word(),
            outcome: match &record.result {
                CheckResult::Passed => "ok",
                CheckResult::Failed(_) => "fails",
                CheckResult::Noted => "noted",
            },
            actual: printable(&record.comparison.actual),
            expected: printable(&record.comparison.expected),
            failure: match &record.result {
                CheckResult::Failed(failure) => {
                    Some((failure.reason().code(), printable(failure.detail())))
                }
                CheckResult::Passed | CheckResult::Noted => None,
            },
        }
    }

    fn not_reached(step: Step) -> Self {
        Self {
            step: step.word(),
            outcome: "not_reached",
            actual: String::new(),
            expected: String::new(),
            failure: None,
        }
    }

    fn print(&self, width: usize, console: &mut Console) {
        let dimmed = Style::new().dimmed();
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        let (word, style) = match self.outcome {
            "ok" => ("ok   ", color(AnsiColor::Green)),
            "fails" => ("FAILS", color(AnsiColor::Red).bold()),
            "noted" => ("     ", dimmed),
            _ => ("–    ", dimmed),
        };
        let actual = match (self.outcome, self.actual.as_str()) {
            ("not_reached", _) => "not reached",
            ("ok", "") if self.expected.is_empty() => "as it should be",
            ("ok" | "fails", "") => "nothing",
            (_, actual) => actual,
        };
        let failure = self.failure.as_ref();
        let failure =
            failure.map(|(reason, detail)| styled(style, format_args!("{reason}: {detail}")));
        // Without a comparison the failure stands in its place.
        let is_empty = self.actual.is_empty() && self.expected.is_empty();
        let (actual, failure) = match (failure, is_empty) {
            (Some(failure), true) => (failure, None),
            (failure, _) => (actual.to_owned(), failure),
        };
        let expected = match self.expected.as_str() {
            "" => String::new(),
            expected => styled(dimmed, format_args!("  [{expected}]")),
        };
        let step = self.step;
        let word = styled(style, word);
        console.line(format_args!("  {step:width$}  {word}  {actual}{expected}"));
        if let Some(failure) = failure {
            console.line(format_args!("  {:width$}         {failure}", ""));
        }
    }

    fn json(&self) -> Value {
        json!({
            "step": self.step,
            "outcome": self.outcome,
            "found": self.actual,
            "wanted": self.expected,
            "reason": self.failure.as_ref().map(|(reason, _)| reason),
            "detail": self.failure.as_ref().map(|(_, detail)| detail),
        })
    }
}

/// The word for a failure in the log, and the exit status.
fn outcome_of(kind: FailureKind) -> (&'static str, ExitStatus) {
    match kind {
        FailureKind::Malformed => ("malformed", ExitStatus::Failure),
        FailureKind::Refused => ("refused", ExitStatus::Failure),
        FailureKind::NotAllowed => ("not_allowed", ExitStatus::Failure),
        FailureKind::Unavailable => ("unavailable", ExitStatus::Error),
        FailureKind::Internal => ("failed", ExitStatus::Error),
    }
}

/// The steps of a successful login, in order.
pub(crate) fn steps(kind: CredentialKind) -> &'static [Step] {
    match kind {
        CredentialKind::Ticket => &[
            Step::Form,
            Step::Session,
            Step::Server,
            Step::Request,
            Step::Reply,
            Step::Proxy,
            Step::UserClaim,
            Step::Principal,
            Step::MailUser,
            Step::HostName,
        ],
        CredentialKind::Token => &[
            Step::Form,
            Step::Session,
            Step::Header,
            Step::Claims,
            Step::Issuer,
            Step::Type,
            Step::Algorithm,
            Step::Keys,
            Step::Signature,
            Step::Audience,
            Step::Expiry,
            Step::NotBefore,
            Step::IssuedAt,
            Step::Purpose,
            Step::UserClaim,
            Step::Principal,
            Step::MailUser,
            Step::HostName,
        ],
    }
}
