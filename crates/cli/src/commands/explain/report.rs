//! What was seen and decided, for people and for programs.

#![forbid(unsafe_code)]

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::credential_input::Given;
use super::remedy::remedy;
use super::steps::steps;
use super::verdict::Conclusion;
use super::{Case, deciding};
use crate::commands::Status;
use crate::term::console::{Console, styled};
use sso_core::auth::login_event::LoginEvent;
use sso_core::credential::CredentialKind;
use sso_core::error;
use sso_core::error::Failure;
use sso_core::trace::{Outcome, Step};

/// One line: a step, what came of it, what was compared.
struct Line {
    step: &'static str,
    outcome: &'static str,
    found: String,
    wanted: String,
    failure: Option<(&'static str, String)>,
}

/// All there is to say.
pub(crate) struct Report {
    kind: &'static str,
    service: String,
    lines: Vec<Line>,
    notes: Vec<String>,
    /// The word for the outcome, and the user.
    outcome: &'static str,
    user: Option<String>,
    /// Step, reason and detail of the failure that decided.
    failure: Option<(Option<&'static str>, Failure, String)>,
    log: Option<String>,
    status: Status,
}

impl Report {
    pub(crate) fn new(case: Case, conclusion: Conclusion, given: &Given) -> Self {
        let harmless = |text: &str| given.harmless(text);
        let mechanism = case.mechanism;
        let kind = match case.kind {
            CredentialKind::Ticket => "ticket",
            CredentialKind::Token => "token",
        };
        let seen = case.seen.into_inner();
        let mut lines: Vec<Line> = seen
            .iter()
            .map(|seen| Line {
                step: seen.step.word(),
                outcome: match &seen.outcome {
                    Outcome::Good => "ok",
                    Outcome::Failed(_) => "fails",
                    Outcome::Noted => "noted",
                },
                found: harmless(&seen.told.found),
                wanted: harmless(&seen.told.wanted),
                failure: match &seen.outcome {
                    Outcome::Failed(failure) => {
                        Some((failure.reason().code(), harmless(failure.detail())))
                    }
                    Outcome::Good | Outcome::Noted => None,
                },
            })
            .collect();
        let is_seen = |step: &Step| seen.iter().any(|seen| seen.step == *step);
        let unseen = steps(case.kind).iter().filter(|step| !is_seen(step));
        lines.extend(unseen.map(|step| Line::not_reached(*step)));
        let mut notes: Vec<String> = case
            .notes
            .into_inner()
            .iter()
            .map(|line| harmless(line))
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
        let decision = user.as_ref().map(|user| LoginEvent {
            mechanism,
            service: &case.service,
            client: case.client.as_deref(),
            outcome: user.as_ref().map(String::as_str),
            source,
            key: key.filter(|_| has_host),
            kind: Some(case.kind),
            elapsed,
        });
        let (outcome, status) = match &user {
            None if !is_offered => ("not_offered", Status::Bad),
            None => ("not_asked", Status::Unusable),
            Some(Ok(_)) => ("accepted", Status::Good),
            Some(Err(failure)) => of_kind(failure.kind()),
        };
        Self {
            kind,
            lines,
            notes,
            outcome,
            failure: failure.map(|failure| {
                let step = deciding(&seen)
                    .filter(|(_, decisive)| decisive.reason() == failure.reason())
                    .map(|(step, _)| step.word());
                (step, failure.clone(), harmless(failure.detail()))
            }),
            log: decision.map(|decision| harmless(&decision.line())),
            user: user.and_then(Result::ok),
            service: case.service,
            status,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// For people.
    pub(crate) fn print(&self, console: &mut Console) {
        console.line(format_args!("A {} for {}", self.kind, self.service));
        console.line("");
        let width = self.lines.iter().map(|line| line.step.len()).max();
        for line in &self.lines {
            line.print(width.unwrap_or_default(), console);
        }
        console.line("");
        let color = match self.status {
            Status::Good => AnsiColor::Green,
            Status::Bad => AnsiColor::Red,
            Status::Unusable => AnsiColor::Yellow,
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

    /// For programs.
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
    fn not_reached(step: Step) -> Self {
        Self {
            step: step.word(),
            outcome: "not_reached",
            found: String::new(),
            wanted: String::new(),
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
        let found = match (self.outcome, self.found.as_str()) {
            ("not_reached", _) => "not reached",
            ("ok", "") if self.wanted.is_empty() => "as it should be",
            ("ok" | "fails", "") => "nothing",
            (_, found) => found,
        };
        let failure = self.failure.as_ref();
        let failure =
            failure.map(|(reason, detail)| styled(style, format_args!("{reason}: {detail}")));
        // All that is compared may be in the failure.
        let (found, failure) = match (failure, self.found.is_empty() && self.wanted.is_empty()) {
            (Some(failure), true) => (failure, None),
            (failure, _) => (found.to_owned(), failure),
        };
        let wanted = match self.wanted.as_str() {
            "" => String::new(),
            wanted => styled(dimmed, format_args!("  [{wanted}]")),
        };
        let step = self.step;
        let word = styled(style, word);
        console.line(format_args!("  {step:width$}  {word}  {found}{wanted}"));
        if let Some(failure) = failure {
            console.line(format_args!("  {:width$}         {failure}", ""));
        }
    }

    fn json(&self) -> Value {
        json!({
            "step": self.step,
            "outcome": self.outcome,
            "found": self.found,
            "wanted": self.wanted,
            "reason": self.failure.as_ref().map(|(reason, _)| reason),
            "detail": self.failure.as_ref().map(|(_, detail)| detail),
        })
    }
}

/// The log's word for a failure, and its exit status.
fn of_kind(kind: error::FailureKind) -> (&'static str, Status) {
    match kind {
        error::FailureKind::Malformed => ("malformed", Status::Bad),
        error::FailureKind::Refused => ("refused", Status::Bad),
        error::FailureKind::NotAllowed => ("not_allowed", Status::Bad),
        error::FailureKind::Unavailable => ("unavailable", Status::Unusable),
        error::FailureKind::Internal => ("failed", Status::Unusable),
    }
}
