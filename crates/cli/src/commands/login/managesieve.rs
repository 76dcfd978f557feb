//! A login by ManageSieve (RFC 5804).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Link;
use super::mechanism::{Login, decoded, encoded, shown};
use super::protocol::{Capabilities, Dialect, MOST_CHALLENGES, Reply, unexpected};

/// A conversation. Its capabilities come by themselves: with the greeting, and after TLS
/// has begun.
pub(crate) struct Sieve;

impl Dialect for Sieve {
    fn greeting(&mut self, _: &mut Link) -> Result<(), String> {
        Ok(())
    }

    fn capabilities(&mut self, link: &mut Link) -> Result<Capabilities, String> {
        let mut found = Capabilities {
            initial_response: true,
            ..Capabilities::default()
        };
        loop {
            let (parts, line) = response(link)?;
            link.heard(&line);
            match &parts[..] {
                [Part::Word(word), ..] if word == "OK" => return Ok(found),
                [Part::Text(name), rest @ ..] => capability(name, rest, &mut found),
                _ => return unexpected("capabilities", &line),
            }
        }
    }

    fn start_tls(&mut self, link: &mut Link) -> Result<(), String> {
        link.send("STARTTLS")?;
        let (parts, line) = response(link)?;
        link.heard(&line);
        match ended(&parts, &line) {
            Some(Reply { ok: true, .. }) => Ok(()),
            _ => unexpected("OK to STARTTLS", &line),
        }
    }

    fn log_in(
        &mut self,
        link: &mut Link,
        login: &Login,
        _: &Capabilities,
    ) -> Result<Reply, String> {
        let command = format!("AUTHENTICATE \"{}\" ", login.mechanism.name());
        send(link, &command, &login.message(), &login.shown())?;
        let mut challenge = None;
        for _ in 0..MOST_CHALLENGES {
            let (parts, line) = response(link)?;
            if let Some(reply) = ended(&parts, &line) {
                link.heard(&line);
                return Ok(Reply { challenge, ..reply });
            }
            let [Part::Text(text)] = &parts[..] else {
                link.heard(&line);
                return unexpected("OK, NO or a challenge", &line);
            };
            let text = decoded(text).unwrap_or_else(|| text.clone());
            link.heard(&shown(&text));
            challenge = Some(text);
            send(link, "", login.answer(), &shown(login.answer()))?;
        }
        unexpected("OK or NO", "something else, again and again")
    }

    fn log_out(&mut self, link: &mut Link) -> Result<(), String> {
        link.send("LOGOUT")?;
        let (_, line) = response(link)?;
        link.heard(&line);
        Ok(())
    }
}

/// Sends a message behind a command. As a literal: a quoted string may have 1,024 bytes.
fn send(link: &mut Link, command: &str, message: &str, as_shown: &str) -> Result<(), String> {
    let message = encoded(message);
    let line = Zeroizing::new(format!(
        "{command}{{{}+}}\r\n{}\r\n",
        message.len(),
        *message
    ));
    link.send_as(line.as_bytes(), &format!("{command}{as_shown}"))
}

/// A piece of a response.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A quoted string or a literal.
    Text(String),
    /// An atom, in upper case, or a parenthesis.
    Word(String),
}

/// A response, and its line as it may be shown: with what literals hold in quotes.
fn response(link: &mut Link) -> Result<(Vec<Part>, String), String> {
    let mut parts = Vec::new();
    let mut whole = String::new();
    loop {
        let line = link.raw_line()?;
        let (rest, literal) = without_literal(&line);
        whole.push_str(rest);
        parse(rest, &mut parts)?;
        let Some(length) = literal else {
            return Ok((parts, whole));
        };
        let text = link.raw_bytes(length)?;
        whole.push_str(&format!("\"{text}\""));
        parts.push(Part::Text(text));
    }
}

/// A line, and the length of the literal that it ends with.
fn without_literal(line: &str) -> (&str, Option<usize>) {
    let found = || {
        let (rest, length) = line.strip_suffix('}')?.rsplit_once('{')?;
        let length = length.strip_suffix('+').unwrap_or(length).parse().ok()?;
        Some((rest, length))
    };
    match found() {
        Some((rest, length)) => (rest, Some(length)),
        None => (line, None),
    }
}

fn parse(line: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => {}
            '(' | ')' => parts.push(Part::Word(c.to_string())),
            '"' => {
                let mut text = String::new();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => text.extend(rest.next()),
                        Some(c) => text.push(c),
                        None => return unexpected("a \" at the end", line),
                    }
                }
                parts.push(Part::Text(text));
            }
            c => {
                let mut word = c.to_ascii_uppercase().to_string();
                while let Some(c) = rest.next_if(|c| !" \t()\"".contains(*c)) {
                    word.push(c.to_ascii_uppercase());
                }
                parts.push(Part::Word(word));
            }
        }
    }
    Ok(())
}

/// The end of a command, if it is that. An OK may have the mechanism's last word with it,
/// which none of ours has.
fn ended(parts: &[Part], line: &str) -> Option<Reply> {
    let Some(Part::Word(word)) = parts.first() else {
        return None;
    };
    matches!(word.as_str(), "OK" | "NO" | "BYE").then(|| Reply {
        ok: word == "OK",
        text: line.to_owned(),
        challenge: None,
    })
}

fn capability(name: &str, rest: &[Part], found: &mut Capabilities) {
    match (name.to_ascii_uppercase().as_str(), rest) {
        ("STARTTLS", _) => found.starttls = true,
        ("SASL", [Part::Text(mechanisms)]) => {
            let words = mechanisms.split_ascii_whitespace();
            found.mechanisms.extend(words.map(str::to_ascii_uppercase));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        parse(line, &mut parts).unwrap();
        parts
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn word(word: &str) -> Part {
        Part::Word(word.to_owned())
    }

    #[test]
    fn a_response_is_of_words_and_texts() {
        assert_eq!(
            parts("No (TRYLATER) \"a \\\"b\\\\\""),
            [
                word("NO"),
                word("("),
                word("TRYLATER"),
                word(")"),
                text("a \"b\\")
            ]
        );
        assert_eq!(
            parts("OK (SASL \"eA==\")"),
            [word("OK"), word("("), word("SASL"), text("eA=="), word(")")]
        );
        assert!(parse("NO \"endless", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_literal_is_announced_at_the_end_of_a_line() {
        assert_eq!(without_literal("NO {12}"), ("NO ", Some(12)));
        assert_eq!(without_literal("{3+}"), ("", Some(3)));
        assert_eq!(without_literal("NO \"{x}"), ("NO \"{x}", None));
        assert_eq!(without_literal("NO"), ("NO", None));
    }

    #[test]
    fn capabilities_are_names_and_values() {
        let mut found = Capabilities::default();
        for line in [
            "\"SASL\" \"PLAIN CASPT\"",
            "\"starttls\"",
            "\"SIEVE\" \"fileinto\"",
        ] {
            match &parts(line)[..] {
                [Part::Text(name), rest @ ..] => capability(name, rest, &mut found),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found.mechanisms, ["PLAIN", "CASPT"]);
        assert!(found.starttls);
    }

    #[test]
    fn a_challenge_is_no_end() {
        assert_eq!(ended(&parts("\"e30=\""), ""), None);
        assert!(ended(&parts("ok \"Logged in\""), "").unwrap().ok);
        assert!(!ended(&parts("BYE \"too many\""), "").unwrap().ok);
    }
}
