//! What is said to the administrator, and how it is made safe to read.

#![forbid(unsafe_code)]

use std::borrow::Cow;

/// How much a line matters; the host maps it to its own levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody must do something.
    Error,
    /// A login failed for a reason of ours or of an SSO server.
    Warning,
    /// A decision, as it should be.
    Notice,
}

/// Where lines go.
pub trait Log {
    /// Writes one line, without a newline.
    fn write(&self, level: Level, line: &str);
}

/// The longest value that [`quoted`] lets through, in characters.
const LONGEST: usize = 300;

/// `text` as a value of a `key=value` line: quoted if it has to be, on one
/// line, bounded, and never able to forge a second field.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b',');
    if !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut value: String = text
        .chars()
        .map(|c| match c {
            '"' => '\'',
            c if is_hidden(c) => '?',
            c => c,
        })
        .take(LONGEST)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        value.push('…');
    }
    if value.is_empty() || value.contains([' ', '=', ',']) {
        value = format!("\"{value}\"");
    }
    Cow::Owned(value)
}

/// Several values, each of them [`quoted`]. Of many, the first.
pub fn listed<T: AsRef<str>>(values: &[T]) -> String {
    const MOST: usize = 20;
    let quoted = values.iter().take(MOST).map(|value| quoted(value.as_ref()));
    let mut listed = quoted.collect::<Vec<_>>().join(" ");
    if values.len() > MOST {
        listed.push_str(" …");
    }
    listed
}

/// Whether a character shows as nothing, or changes how others show: control
/// characters, and those that set the direction of text.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Keeps what was written, for tests to read.
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
    fn a_plain_word_stays_as_it_is() {
        assert_eq!(quoted("imap://mail.univ.fr"), "imap://mail.univ.fr");
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_a_field() {
        assert_eq!(
            quoted("x\r\nuser=root outcome=\"ok\""),
            "\"x??user=root outcome='ok'\""
        );
        assert_eq!(quoted(""), "\"\"");
    }

    #[test]
    fn a_value_is_bounded() {
        assert_eq!(quoted(&"a".repeat(5000)).chars().count(), LONGEST + 1);
    }
}
