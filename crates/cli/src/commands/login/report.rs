//! The summary of all logins: a table for people, JSON for programs.

#![forbid(unsafe_code)]

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::attempt::Attempt;
use super::diagnosis::Outcome;
use super::mechanism::Login;
use super::transcript::{Side, milliseconds};
use crate::term::console::{Console, styled};

/// Prints the diagnosis of one login after its transcript.
pub(crate) fn diagnosis(attempt: &Attempt, console: &mut Console) {
    let outcome = attempt.diagnosis.outcome;
    let word = styled(colour(outcome), outcome.name());
    match attempt.diagnosis.explanation.as_str() {
        "" => console.line(word),
        text if text.ends_with(['?', '.']) => console.line(format_args!("{word}: {text}")),
        text => console.line(format_args!("{word}: {text}.")),
    }
}

/// Prints a table with one row for each login.
pub(crate) fn table(attempts: &[Attempt], login: &Login, console: &mut Console) {
    let widest = attempts.iter().map(|attempt| attempt.name.chars().count());
    let width = widest.max().unwrap_or(0).max("login".len());
    console.line("");
    console.line(format_args!(
        "{:width$}  {:>10}  {:>10}  {:>10}  outcome",
        "login",
        "connect",
        "TLS",
        login.mechanism.name()
    ));
    for attempt in attempts {
        let timings = &attempt.timings;
        let outcome = attempt.diagnosis.outcome;
        console.line(format_args!(
            "{:width$}  {:>10}  {:>10}  {:>10}  {}",
            attempt.name,
            cell(timings.connect),
            cell(timings.tls),
            cell(timings.login),
            styled(colour(outcome), outcome.name()),
        ));
    }
    let all_succeeded = attempts.len() > 1 && attempts.iter().all(Attempt::succeeded);
    if all_succeeded && login.credential.kind().is_some() {
        console.line(
            "\nWhat the credential is worth was asked for once if the mail server's log has \
             source=validated\nfor the first and source=host or source=memory for the others.",
        );
    }
}

/// The JSON object of all logins.
pub(crate) fn json(attempts: &[Attempt], login: &Login) -> Value {
    let attempts: Vec<Value> = attempts.iter().map(attempt).collect();
    json!({
        "host": login.names.host,
        "port": login.names.port,
        "mechanism": login.mechanism.name(),
        "credential": login.credential.to_string(),
        "attempts": attempts,
    })
}

fn attempt(attempt: &Attempt) -> Value {
    let ms = |time: Option<Duration>| time.map(milliseconds);
    let exchange = attempt.entries.iter().map(|entry| {
        let side = match entry.side {
            Side::Client => "client",
            Side::Server => "server",
            Side::Note => "note",
        };
        json!({
            "ms": milliseconds(entry.at),
            "took_ms": milliseconds(entry.took),
            "side": side,
            "line": entry.text,
        })
    });
    json!({
        "name": attempt.name,
        "outcome": attempt.diagnosis.outcome.name().replace(' ', "_"),
        "means": attempt.diagnosis.explanation,
        "connect_ms": ms(attempt.timings.connect),
        "tls_ms": ms(attempt.timings.tls),
        "login_ms": ms(attempt.timings.login),
        "exchange": exchange.collect::<Vec<_>>(),
    })
}

fn cell(time: Option<Duration>) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| format!("{:.1} ms", milliseconds(time)),
    )
}

fn colour(outcome: Outcome) -> Style {
    let colour = match outcome {
        Outcome::LoggedIn => AnsiColor::Green,
        Outcome::Refused | Outcome::NotOffered => AnsiColor::Red,
        Outcome::Unavailable | Outcome::Failed => AnsiColor::Yellow,
    };
    Style::new().fg_color(Some(colour.into())).bold()
}
