//! Lines for the administrator, and how untrusted text becomes safe to read in them.

#![forbid(unsafe_code)]

use std::borrow::Cow;

/// The importance of a line, which the host maps to its own levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// An administrator must act.
    Error,
    /// A login failed because of the plugin or of an SSO server.
    Warning,
    /// A normal result.
    Notice,
}

/// A destination of log lines.
pub trait Log {
    /// Writes one line, without a newline.
    fn write(&self, level: Level, line: &str);
}

/// The maximum length of a value that [`quoted`] returns, in characters.
const MAX_VALUE_CHARS: usize = 300;

/// Returns `text` as a value of a `key=value` line: on one line, of limited length, in quotes where
/// necessary, and unable to forge another field.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b',');
    if !text.is_empty() && text.len() <= MAX_VALUE_CHARS && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut value: String = text
        .chars()
        .map(|c| match c {
            '"' => '\'',
            c if is_hidden(c) => '?',
            c => c,
        })
        .take(MAX_VALUE_CHARS)
        .collect();
    if text.chars().nth(MAX_VALUE_CHARS).is_some() {
        value.push('…');
    }
    if value.is_empty() || value.contains([' ', '=', ',']) {
        value = format!("\"{value}\"");
    }
    Cow::Owned(value)
}

/// Returns several values, each of them [`quoted`], up to a maximum number.
pub fn listed<T: AsRef<str>>(values: &[T]) -> String {
    const MAX_VALUES: usize = 20;
    let quoted = values
        .iter()
        .take(MAX_VALUES)
        .map(|value| quoted(value.as_ref()));
    let mut listed = quoted.collect::<Vec<_>>().join(" ");
    if values.len() > MAX_VALUES {
        listed.push_str(" …");
    }
    listed
}

/// Whether a character is invisible or changes how others are displayed: control characters, and
/// those that set the direction of text.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A log that keeps its lines for tests to read.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Kept(parking_lot::Mutex<Vec<(Level, String)>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn lines(&self) -> Vec<(Level, String)> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
impl Log for Kept {
    fn write(&self, level: Level, line: &str) {
        self.0.lock().push((level, line.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_word_is_not_quoted() {
        assert_eq!(quoted("imap://mail.univ.fr"), "imap://mail.univ.fr");
    }

    #[test]
    fn value_cannot_forge_a_line_or_a_field() {
        assert_eq!(
            quoted("x\r\nuser=root outcome=\"ok\""),
            "\"x??user=root outcome='ok'\""
        );
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn value_has_a_maximum_length() {
        assert_eq!(
            quoted(&"a".repeat(5000)).chars().count(),
            MAX_VALUE_CHARS + 1
        );
    }
}
