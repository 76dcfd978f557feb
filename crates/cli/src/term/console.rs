//! Where the program reads from and writes to: colours for a terminal, and none
//! for a file.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use anstream::AutoStream;
use anstyle::Style;

use sso_core::platform::log::is_hidden;

/// What goes to the terminal. Whether somebody is left to read it is no matter.
pub(crate) struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    input: Box<dyn BufRead>,
    can_ask: bool,
}

impl Console {
    /// The process' own.
    pub(crate) fn of_process() -> Self {
        Self {
            out: Box::new(AutoStream::auto(io::stdout())),
            err: Box::new(AutoStream::auto(io::stderr())),
            input: Box::new(io::stdin().lock()),
            can_ask: io::stdin().is_terminal(),
        }
    }

    /// One line of the answer.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// One line of what is wrong with the question.
    pub(crate) fn complain(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// What comes on standard input.
    pub(crate) fn input(&mut self) -> &mut dyn BufRead {
        &mut *self.input
    }

    /// Whether somebody sits there: standard input is a terminal.
    pub(crate) fn can_ask(&self) -> bool {
        self.can_ask
    }
}

/// `text` in a style; the console takes it out where nobody would see it.
pub(crate) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// `text`, which others have written perhaps, as it may go to a terminal: on one line,
/// without what is not seen, and bounded.
pub(crate) fn plain(text: &str) -> String {
    const LONGEST: usize = 2_000;
    let mut chars = text.chars();
    let seen = chars.by_ref().take(LONGEST);
    let mut plain: String = seen.map(|c| if is_hidden(c) { '?' } else { c }).collect();
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

/// What was written, for tests to read.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Written(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Written {
    /// Without colours.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
impl Console {
    /// One that reads `input`, and what goes to its standard output and error.
    pub(crate) fn of_test(input: &str) -> (Self, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        let console = Self {
            out: Box::new(anstream::StripStream::new(
                Box::new(out.clone()) as Box<dyn Write>
            )),
            err: Box::new(anstream::StripStream::new(
                Box::new(err.clone()) as Box<dyn Write>
            )),
            input: Box::new(io::Cursor::new(input.as_bytes().to_vec())),
            can_ask: false,
        };
        (console, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_stays_on_its_line_and_changes_no_terminal() {
        assert_eq!(plain("a\x1b[31m\r\nb\u{202e}\u{9b}é"), "a?[31m??b??é");
        assert_eq!(plain(&"é".repeat(2_001)).chars().count(), 2_001);
        assert!(plain(&"é".repeat(2_001)).ends_with('…'));
        assert_eq!(plain(&"é".repeat(2_000)).chars().count(), 2_000);
    }
}
