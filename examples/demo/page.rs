//! Prints the demonstration as plain text of 100 columns.

use std::io::{IsTerminal, Result, Write, stdout};

const COLUMNS: usize = 100;
const BOLD: &str = "\x1b[1m";
const NORMAL: &str = "\x1b[0m";

/// Standard output. A failure to write is an error, so that `make demo | head` ends.
pub struct Page {
    bold: bool,
}

impl Page {
    /// Creates a page. Headings are bold on a terminal unless `NO_COLOR` is set.
    pub fn new() -> Self {
        Self {
            bold: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Prints a heading.
    pub fn heading(&self, text: &str) -> Result<()> {
        let (bold, normal) = match self.bold {
            true => (BOLD, NORMAL),
            false => ("", ""),
        };
        write(&format!("\n{bold}{}{normal}", wrapped(text, 0)))
    }

    /// Prints a paragraph.
    pub fn paragraph(&self, text: &str) -> Result<()> {
        write(&wrapped(text, 0))
    }

    /// Prints what `who` sent or did.
    pub fn message(&self, who: &str, what: &str) -> Result<()> {
        write(&wrapped(&format!("  {who:<6} {what}"), 9))
    }

    /// Prints a command for the reader and what it does. Never wraps it, so that it can be copied.
    pub fn command(&self, command: &str, what: &str) -> Result<()> {
        write(format!("  {command:<50} {what}").trim_end())
    }
}

fn write(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Wraps text at spaces. Continuation lines start with `indent` spaces.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for (index, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > COLUMNS {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines
}
