//! ManageSieve (RFC 5804).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Connection;
use super::mechanism::{Login, decode_base64, display_base64, encode_base64};
use super::protocol::{Capabilities, MAX_CHALLENGES, MailProtocol, Reply, unexpected};

/// The ManageSieve client. The server sends its capabilities unasked: with the greeting, and after
/// the TLS handshake.
pub(crate) struct Sieve;

impl MailProtocol for Sieve {
    fn greeting(&mut self, _: &mut Connection) -> Result<(), String> {
        Ok(())
    }

    fn capabilities(&mut self, connection: &mut Connection) -> Result<Capabilities, String> {
        let mut found = Capabilities {
            initial_response: true,
            ..Capabilities::default()
        };
        loop {
            let (tokens, line) = read_response(connection)?;
            connection.record_received(&line);
            match &tokens[..] {
                [Token::Word(word), ..] if word == "OK" => return Ok(found),
                [Token::Text(name), rest @ ..] => parse_capability(name, rest, &mut found),
                _ => return unexpected("capabilities", &line),
            }
        }
    }

    fn start_tls(&mut self, connection: &mut Connection) -> Result<(), String> {
        connection.send("STARTTLS")?;
        let (tokens, line) = read_response(connection)?;
        connection.record_received(&line);
        match parse_reply(&tokens, &line) {
            Some(Reply { ok: true, .. }) => Ok(()),
            _ => unexpected("OK to STARTTLS", &line),
        }
    }

    fn log_in(
        &mut self,
        connection: &mut Connection,
        login: &Login,
        _: &Capabilities,
    ) -> Result<Reply, String> {
        let command = format!("AUTHENTICATE \"{}\" ", login.mechanism.name());
        send(
            connection,
            &command,
            &login.message(),
            &login.display_message(),
        )?;
        let mut challenge = None;
        for _ in 0..MAX_CHALLENGES {
            let (tokens, line) = read_response(connection)?;
            if let Some(reply) = parse_reply(&tokens, &line) {
                connection.record_received(&line);
                return Ok(Reply { challenge, ..reply });
            }
            let [Token::Text(text)] = &tokens[..] else {
                connection.record_received(&line);
                return unexpected("OK, NO or a challenge", &line);
            };
            let text = decode_base64(text).unwrap_or_else(|| text.clone());
            connection.record_received(&display_base64(&text));
            challenge = Some(text);
            send(
                connection,
                "",
                login.answer(),
                &display_base64(login.answer()),
            )?;
        }
        unexpected("OK or NO", "something else, again and again")
    }

    fn log_out(&mut self, connection: &mut Connection) -> Result<(), String> {
        connection.send("LOGOUT")?;
        let (_, line) = read_response(connection)?;
        connection.record_received(&line);
        Ok(())
    }
}

/// Sends a command with a message as a literal: a quoted string is limited to 1,024 bytes.
fn send(
    connection: &mut Connection,
    command: &str,
    message: &str,
    as_shown: &str,
) -> Result<(), String> {
    let message = encode_base64(message);
    let line = Zeroizing::new(format!(
        "{command}{{{}+}}\r\n{}\r\n",
        message.len(),
        *message
    ));
    connection.send_as(line.as_bytes(), &format!("{command}{as_shown}"))
}

/// A token of a response.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A quoted string or a literal.
    Text(String),
    /// An atom in upper case, or a parenthesis.
    Word(String),
}

/// Reads a response. Returns its tokens, and its text with literals as quoted strings.
fn read_response(connection: &mut Connection) -> Result<(Vec<Token>, String), String> {
    let mut tokens = Vec::new();
    let mut text_of_response = String::new();
    loop {
        let line = connection.raw_line()?;
        let (rest, literal) = without_literal(&line);
        text_of_response.push_str(rest);
        parse(rest, &mut tokens)?;
        let Some(length) = literal else {
            return Ok((tokens, text_of_response));
        };
        let text = connection.raw_bytes(length)?;
        text_of_response.push_str(&format!("\"{text}\""));
        tokens.push(Token::Text(text));
    }
}

/// Splits a line into its text and the length of the literal at its end.
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

fn parse(line: &str, tokens: &mut Vec<Token>) -> Result<(), String> {
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' => {}
            '(' | ')' => tokens.push(Token::Word(c.to_string())),
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
                tokens.push(Token::Text(text));
            }
            c => {
                let mut word = c.to_ascii_uppercase().to_string();
                while let Some(c) = rest.next_if(|c| !" \t()\"".contains(*c)) {
                    word.push(c.to_ascii_uppercase());
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(())
}

/// The reply, if the response completes a command. An OK may include a last message of the
/// mechanism; none of the supported mechanisms sends one.
fn parse_reply(tokens: &[Token], line: &str) -> Option<Reply> {
    let Some(Token::Word(word)) = tokens.first() else {
        return None;
    };
    matches!(word.as_str(), "OK" | "NO" | "BYE").then(|| Reply {
        ok: word == "OK",
        text: line.to_owned(),
        challenge: None,
    })
}

fn parse_capability(name: &str, rest: &[Token], found: &mut Capabilities) {
    match (name.to_ascii_uppercase().as_str(), rest) {
        ("STARTTLS", _) => found.starttls = true,
        ("SASL", [Token::Text(mechanisms)]) => {
            let words = mechanisms.split_ascii_whitespace();
            found.mechanisms.extend(words.map(str::to_ascii_uppercase));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(line: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        parse(line, &mut tokens).unwrap();
        tokens
    }

    fn text(text: &str) -> Token {
        Token::Text(text.to_owned())
    }

    fn word(word: &str) -> Token {
        Token::Word(word.to_owned())
    }

    #[test]
    fn response_is_split_into_tokens() {
        assert_eq!(
            tokens("No (TRYLATER) \"a \\\"b\\\\\""),
            [
                word("NO"),
                word("("),
                word("TRYLATER"),
                word(")"),
                text("a \"b\\")
            ]
        );
        assert_eq!(
            tokens("OK (SASL \"eA==\")"),
            [word("OK"), word("("), word("SASL"), text("eA=="), word(")")]
        );
        assert!(parse("NO \"endless", &mut Vec::new()).is_err());
    }

    #[test]
    fn literal_length_is_read_at_the_end_of_a_line() {
        assert_eq!(without_literal("NO {12}"), ("NO ", Some(12)));
        assert_eq!(without_literal("{3+}"), ("", Some(3)));
        assert_eq!(without_literal("NO \"{x}"), ("NO \"{x}", None));
        assert_eq!(without_literal("NO"), ("NO", None));
    }

    #[test]
    fn capabilities_are_parsed() {
        let mut found = Capabilities::default();
        for line in [
            "\"SASL\" \"PLAIN CASPT\"",
            "\"starttls\"",
            "\"SIEVE\" \"fileinto\"",
        ] {
            match &tokens(line)[..] {
                [Token::Text(name), rest @ ..] => parse_capability(name, rest, &mut found),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found.mechanisms, ["PLAIN", "CASPT"]);
        assert!(found.starttls);
    }

    #[test]
    fn challenge_does_not_complete_a_command() {
        assert_eq!(parse_reply(&tokens("\"e30=\""), ""), None);
        assert!(parse_reply(&tokens("ok \"Logged in\""), "").unwrap().ok);
        assert!(!parse_reply(&tokens("BYE \"too many\""), "").unwrap().ok);
    }
}
