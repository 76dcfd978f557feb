//! The condition language over attributes and claims: `role=mail memberOf="CN=staff,OU=Managed
//! Groups,DC=x"|"CN=it,DC=x"`.
//!
//! Conditions are separated by blanks, and all of them must hold. `|` separates values, of which
//! the attribute must have at least one. A value that contains a blank, `|` or `"` is written in
//! double quotes, in which `\"` and `\\` are escapes.
//!
//! Whole values are compared. Only `scope` and `scp` are lists of words, see [`is_word_list`].

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::error::Failure;
use crate::platform::log::{is_hidden, listed};
use crate::trace::{Check, Checks, Comparison, Step};

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Condition>);

/// One condition: an attribute and the values of which it must have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    attribute: String,
    values: Vec<String>,
}

impl Rules {
    /// Parses conditions separated by blanks. Returns them, and the problems of those that do not
    /// parse.
    pub fn parse(text: &str) -> (Self, Vec<String>) {
        let mut conditions = Vec::new();
        let mut problems = Vec::new();
        let mut rest = text.trim_start_matches(is_blank);
        while !rest.is_empty() {
            let (word, behind) = rest.split_at(end_of_word(rest));
            match Condition::parse(word) {
                Ok(condition) => conditions.push(condition),
                Err(problem) => problems.push(format!("\"{word}\" {problem}")),
            }
            rest = behind.trim_start_matches(is_blank);
        }
        (Self(conditions), problems)
    }

    /// Requires each condition, given the values of each attribute. `failure` creates the failure of
    /// a condition that is not met.
    ///
    /// # Errors
    /// The failure of the first condition that is not met.
    pub fn check<'v>(
        &self,
        checks: &mut Checks<'_>,
        values: impl Fn(&str) -> Vec<Cow<'v, str>>,
        failure: impl Fn(&Condition) -> Failure,
    ) -> Result<(), Failure> {
        for condition in &self.0 {
            let mut values = values(&condition.attribute);
            let result = match condition.holds(&values) {
                true => Ok(()),
                false => Err(failure(condition)),
            };
            checks.run(Check::new(Step::Rule, result, || {
                values.dedup();
                Comparison::actual(listed(&values)).expected(condition.to_string())
            }))?;
        }
        Ok(())
    }

    /// The conditions, in the order of the option.
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }
}

impl Condition {
    /// The attribute or claim that must have one of the values.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// The values, of which one must be present.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn parse(word: &str) -> Result<Self, &'static str> {
        let (attribute, mut rest) = word.split_once('=').ok_or(
            "has no =; write attribute=value, and a value with a blank in it in double quotes: \
             attribute=\"one value\"",
        )?;
        if attribute.is_empty() {
            return Err("names no attribute before the =");
        }
        if attribute.contains(must_be_quoted) {
            return Err(
                "has a quote or a hidden character before the =; write attribute=\"value\"",
            );
        }
        // The word is part of a distinguished name that was split at a blank.
        if attribute.contains([',', '|']) {
            return Err(
                "has a comma or a | before the =; put the whole of a value with a blank in it in \
                        double quotes: attribute=\"one value\"",
            );
        }
        let mut values = Vec::new();
        loop {
            let (value, behind) = read_value(rest)?;
            if value.is_empty() {
                return Err("has an empty value; write attribute=value or attribute=this|that");
            }
            values.push(value);
            rest = match behind.strip_prefix('|') {
                Some(next) => next,
                None if behind.is_empty() => break,
                None => return Err("goes on behind a closing quote; put a blank or a | there"),
            };
        }
        Ok(Self {
            attribute: attribute.to_owned(),
            values,
        })
    }

    fn holds(&self, present: &[Cow<'_, str>]) -> bool {
        let wanted = |text: &str| self.values.iter().any(|value| value == text);
        present.iter().any(|value| wanted(value))
    }
}

/// The end of the first word of a text, at a blank outside quotes.
fn end_of_word(text: &str) -> usize {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let mut ends = |c: char| {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_blank(c) && !is_quoted
    };
    let end = text.char_indices().find(|(_, c)| ends(*c));
    end.map_or(text.len(), |(at, _)| at)
}

/// Parses the value at the beginning of `text`. Returns the value and the rest.
fn read_value(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('|').unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        if value.contains('"') {
            return Err(
                "has a quote within a value; put the whole value in double quotes, and \
                        write \\\" for a quote in it",
            );
        }
        if value.contains(must_be_quoted) {
            return Err(
                "has a blank of another alphabet or a hidden character; put the value \
                        in double quotes if that belongs to it",
            );
        }
        if value.ends_with([',', ';']) {
            return Err(
                "ends in a comma or a semicolon; put the whole of a value with a blank in \
                        it in double quotes, and separate conditions by blanks",
            );
        }
        return Ok((value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("has a single \\ between quotes; write \\\\ for it"),
            },
            c => value.push(c),
        }
    }
    Err("has a quote that is not closed")
}

/// Whether a character separates conditions.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

/// Whether a character may be in a value only within quotes. `|` is not one of them, because it
/// separates values.
fn must_be_quoted(c: char) -> bool {
    c == '"' || c.is_whitespace() || is_hidden(c)
}

/// Whether a claim or an attribute of this name is a list of words in one text: the granted scopes
/// (RFC 6749, section 3.3), also by Entra's name for them. Any other value is compared as a whole:
/// the group `no mail` is not the group `mail`.
pub fn is_word_list(name: &str) -> bool {
    matches!(name, "scope" | "scp")
}

/// The values of an attribute that is the single text `text`.
pub fn values_of<'t>(name: &str, text: &'t str) -> Vec<Cow<'t, str>> {
    match is_word_list(name) {
        // Scopes are separated by U+0020 and no other white space (RFC 6749, section 3.3).
        true => text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(Cow::Borrowed)
            .collect(),
        false => vec![Cow::Borrowed(text)],
    }
}

/// Formats the condition in the form that [`Rules::parse`] reads.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attribute)?;
        for (index, value) in self.values.iter().enumerate() {
            f.write_char(if index == 0 { '=' } else { '|' })?;
            let is_plain = !value.contains(|c| c == '|' || must_be_quoted(c));
            if is_plain && !value.ends_with([',', ';']) {
                f.write_str(value)?;
                continue;
            }
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "\"{escaped}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "attribute_rules_tests.rs"]
mod tests;
