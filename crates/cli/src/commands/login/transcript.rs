//! Who said what, and when: shown as it happens, and kept for the end.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use anstyle::Style;

use super::credential_input::Secret;
use crate::term::console::{Console, styled};
use sso_core::platform::log::is_hidden;

/// The longest line that is shown, in characters: twice the capabilities of imapd.
const LONGEST: usize = 2_000;

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client: this program.
    Client,
    /// The mail server.
    Server,
    /// Nobody: it is about both.
    Note,
}

impl Side {
    /// What stands before the line.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Client => "C:",
            Self::Server => "S:",
            Self::Note => "--",
        }
    }
}

/// One line of it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// Since the line before.
    pub(crate) took: Duration,
    pub(crate) side: Side,
    /// Safe to be shown.
    pub(crate) text: String,
}

/// The lines of one login.
pub(crate) struct Transcript<'t> {
    begin: Instant,
    entries: Vec<Entry>,
    secret: &'t Secret,
    /// Where they are shown as they come.
    live: Option<&'t mut Console>,
}

impl<'t> Transcript<'t> {
    /// It begins now.
    pub(crate) fn begin(secret: &'t Secret, live: Option<&'t mut Console>) -> Self {
        Self {
            begin: Instant::now(),
            entries: Vec::new(),
            secret,
            live,
        }
    }

    /// Something was said now. What comes from others must not change the terminal, and
    /// nothing must show the credential.
    pub(crate) fn say(&mut self, side: Side, text: &str) {
        let at = self.begin.elapsed();
        let before = self.entries.last().map_or(Duration::ZERO, |last| last.at);
        let entry = Entry {
            at,
            took: at.saturating_sub(before),
            side,
            text: visible(&self.secret.masked_in(text)),
        };
        if let Some(console) = &mut self.live {
            console.line(line(&entry));
        }
        self.entries.push(entry);
    }

    /// The same about both sides.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        self.say(Side::Note, text.as_ref());
    }

    /// `text`, which may come from the server, as it may be shown.
    pub(crate) fn cleaned(&self, text: &str) -> String {
        visible(&self.secret.masked_in(text))
    }

    /// All that was said.
    pub(crate) fn entries(self) -> Vec<Entry> {
        self.entries
    }
}

fn line(entry: &Entry) -> String {
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

/// As people read it.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// `text` without what does not show as itself, and bounded: ^A and NUL, of which
/// messages are made, as terminals write them.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    for (number, c) in text.chars().enumerate() {
        match c {
            _ if number == LONGEST => {
                visible.push('…');
                break;
            }
            '\0' => visible.push_str("^@"),
            '\x01' => visible.push_str("^A"),
            c if is_hidden(c) => visible.push('?'),
            c => visible.push(c),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_server_says_changes_the_terminal() {
        assert_eq!(
            visible("n,,\x01auth=Bearer x\x01\x01\0\x1b[31m\u{202e}\r\n"),
            "n,,^Aauth=Bearer x^A^A^@?[31m???"
        );
        let long = visible(&"x".repeat(LONGEST + 1));
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert!(long.ends_with('…'));
    }
}
