//! The transcript of a login: printed line by line as it happens, and kept for the report.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anstyle::Style;

use super::credential_input::CredentialInput;
use crate::term::console::{Console, styled};
use sso_core::platform::log::is_hidden;

/// The maximum length of a line, in characters: twice the length of imapd's capabilities.
const MAX_LINE_CHARS: usize = 2_000;

/// The origin of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Sent by this program.
    Client,
    /// Sent by the mail server.
    Server,
    /// A note by this program, which was not sent.
    Note,
}

impl Side {
    /// The mark at the beginning of the line.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Client => "C:",
            Self::Server => "S:",
            Self::Note => "--",
        }
    }
}

/// One line of the transcript.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The time since the transcript began.
    pub(crate) at: Duration,
    /// The time since the previous line.
    pub(crate) took: Duration,
    pub(crate) side: Side,
    /// Sanitized: safe to print.
    pub(crate) text: String,
}

/// The lines of one login.
pub(crate) struct Transcript<'t> {
    begin: Instant,
    entries: Vec<Entry>,
    credential: &'t CredentialInput,
    /// Where each line is printed as soon as it is recorded; `None` with `--json`.
    live: Option<&'t mut Console>,
}

impl<'t> Transcript<'t> {
    /// Starts a transcript at the current time.
    pub(crate) fn begin(credential: &'t CredentialInput, live: Option<&'t mut Console>) -> Self {
        Self {
            begin: Instant::now(),
            entries: Vec::new(),
            credential,
            live,
        }
    }

    /// Records a line. The text is sanitized: it must neither control the terminal nor show the
    /// credential.
    pub(crate) fn record(&mut self, side: Side, text: &str) {
        let at = self.begin.elapsed();
        let before = self.entries.last().map_or(Duration::ZERO, |last| last.at);
        let entry = Entry {
            at,
            took: at.saturating_sub(before),
            side,
            text: sanitize(&self.credential.masked_in(text)),
        };
        if let Some(console) = &mut self.live {
            console.line(format_line(&entry));
        }
        self.entries.push(entry);
    }

    /// Records a note.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        self.record(Side::Note, text.as_ref());
    }

    /// `text`, which may come from the server, made safe to print.
    pub(crate) fn sanitized(&self, text: &str) -> String {
        sanitize(&self.credential.masked_in(text))
    }

    /// All recorded lines.
    pub(crate) fn entries(self) -> Vec<Entry> {
        self.entries
    }
}

fn format_line(entry: &Entry) -> String {
    let style = match entry.side {
        Side::Client => Style::new().bold(),
        Side::Server => Style::new(),
        Side::Note => Style::new().dimmed(),
    };
    let text = format!("{} {}", entry.side.mark(), entry.text);
    format!(
        "{:>9.1} {:>9} {}",
        milliseconds(entry.at),
        format!("+{:.1}", milliseconds(entry.took)),
        styled(style, text)
    )
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Replaces characters that a terminal does not show, and truncates long text. NUL and ^A, which
/// separate the fields of messages, become `^@` and `^A`.
fn sanitize(text: &str) -> String {
    let mut sanitized = String::new();
    for (number, c) in text.chars().enumerate() {
        match c {
            _ if number == MAX_LINE_CHARS => {
                sanitized.push('…');
                break;
            }
            '\0' => sanitized.push_str("^@"),
            '\x01' => sanitized.push_str("^A"),
            c if is_hidden(c) => sanitized.push('?'),
            c => sanitized.push(c),
        }
    }
    sanitized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_text_cannot_control_the_terminal() {
        assert_eq!(
            sanitize("n,,\x01auth=Bearer x\x01\x01\0\x1b[31m\u{202e}\r\n"),
            "n,,^Aauth=Bearer x^A^A^@?[31m???"
        );
        let long = sanitize(&"x".repeat(MAX_LINE_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_LINE_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
