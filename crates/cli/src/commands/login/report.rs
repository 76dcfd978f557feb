//! What is said at the end: a table for people, JSON for programs.

#![forbid(unsafe_code)]

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::attempt::Attempt;
use super::diagnosis::Outcome;
use super::mechanism::Login;
use super::transcript::{Side, milliseconds};
use crate::term::console::{Console, styled};

/// How one login ended, below its lines.
pub(crate) fn ending(attempt: &Attempt, console: &mut Console) {
    let outcome = attempt.ending.outcome;
    let word = styled(colour(outcome), outcome.name());
    match attempt.ending.means.as_str() {
        "" => console.line(word),
        means if means.ends_with(['?', '.']) => console.line(format_args!("{word}: {means}")),
        means => console.line(format_args!("{word}: {means}.")),
    }
}

/// One line a login.
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
        let times = &attempt.times;
        let outcome = attempt.ending.outcome;
        console.line(format_args!(
            "{:width$}  {:>10}  {:>10}  {:>10}  {}",
            attempt.name,
            cell(times.connect),
            cell(times.tls),
            cell(times.login),
            styled(colour(outcome), outcome.name()),
        ));
    }
    let is_known = attempts.len() > 1 && attempts.iter().all(Attempt::is_good);
    if is_known && login.secret.kind().is_some() {
        console.line(
            "\nWhat the credential is worth was asked for once if the mail server's log has \
             source=validated\nfor the first and source=host or source=memory for the others.",
        );
    }
}

/// All of it.
pub(crate) fn json(attempts: &[Attempt], login: &Login) -> Value {
    let attempts: Vec<Value> = attempts.iter().map(attempt).collect();
    json!({
        "host": login.names.host,
        "port": login.names.port,
        "mechanism": login.mechanism.name(),
        "credential": login.secret.to_string(),
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
        "outcome": attempt.ending.outcome.name().replace(' ', "_"),
        "means": attempt.ending.means,
        "connect_ms": ms(attempt.times.connect),
        "tls_ms": ms(attempt.times.tls),
        "login_ms": ms(attempt.times.login),
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
