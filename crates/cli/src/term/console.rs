//! Standard input, output and error, with colours on a terminal only.

#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use anstream::AutoStream;
use anstyle::Style;

use sso_core::platform::log::is_hidden;

/// The program's input and output. Write errors are ignored: they cannot be reported.
pub(crate) struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    input: Box<dyn BufRead>,
    is_interactive: bool,
}

impl Console {
    /// The console of this process.
    pub(crate) fn for_process() -> Self {
        Self {
            out: Box::new(AutoStream::auto(io::stdout())),
            err: Box::new(AutoStream::auto(io::stderr())),
            input: Box::new(io::stdin().lock()),
            is_interactive: io::stdin().is_terminal(),
        }
    }

    /// Prints a line to standard output.
    pub(crate) fn line(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// Prints a line to standard error.
    pub(crate) fn print_error(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Standard input.
    pub(crate) fn input(&mut self) -> &mut dyn BufRead {
        &mut *self.input
    }

    /// Whether standard input is a terminal.
    pub(crate) fn is_interactive(&self) -> bool {
        self.is_interactive
    }
}

/// `text` in a style; the console removes the style where colours are off.
pub(crate) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Makes `text`, which may come from others, safe for a terminal: on one line, without invisible
/// characters, and truncated.
pub(crate) fn plain(text: &str) -> String {
    const MAX_CHARS: usize = 2_000;
    let mut chars = text.chars();
    let seen = chars.by_ref().take(MAX_CHARS);
    let mut plain: String = seen.map(|c| if is_hidden(c) { '?' } else { c }).collect();
    if chars.next().is_some() {
        plain.push('…');
    }
    plain
}

/// Captured output.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct CapturedOutput(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);

#[cfg(test)]
impl CapturedOutput {
    /// The text, without colours.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

#[cfg(test)]
impl Write for CapturedOutput {
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
    /// A console that reads `input`, and its captured standard output and error.
    pub(crate) fn for_test(input: &str) -> (Self, CapturedOutput, CapturedOutput) {
        let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
        let console = Self {
            out: Box::new(anstream::StripStream::new(
                Box::new(out.clone()) as Box<dyn Write>
            )),
            err: Box::new(anstream::StripStream::new(
                Box::new(err.clone()) as Box<dyn Write>
            )),
            input: Box::new(io::Cursor::new(input.as_bytes().to_vec())),
            is_interactive: false,
        };
        (console, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_control_the_terminal() {
        assert_eq!(plain("a\x1b[31m\r\nb\u{202e}\u{9b}é"), "a?[31m??b??é");
        assert_eq!(plain(&"é".repeat(2_001)).chars().count(), 2_001);
        assert!(plain(&"é".repeat(2_001)).ends_with('…'));
        assert_eq!(plain(&"é".repeat(2_000)).chars().count(), 2_000);
    }
}
