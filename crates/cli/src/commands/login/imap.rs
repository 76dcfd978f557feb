//! IMAP (RFC 3501) with SASL-IR (RFC 4959).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Connection;
use super::mechanism::{Login, Mechanism};
use super::protocol::{Capabilities, MailProtocol, Reply, unexpected};
use super::sasl_exchange::{ServerLine, exchange};

/// The IMAP client. It counts the commands to make their tags.
#[derive(Default)]
pub(crate) struct Imap {
    commands: u32,
}

impl MailProtocol for Imap {
    fn greeting(&mut self, connection: &mut Connection) -> Result<(), String> {
        let line = connection.line()?;
        match () {
            () if starts_with_ignore_case(&line, "* OK") => Ok(()),
            // STARTTLS is not allowed in the authenticated state, so an attacker would gain from
            // this response.
            () if starts_with_ignore_case(&line, "* PREAUTH") => {
                Err("the server says that we are logged in already: there is nothing to try".into())
            }
            () => unexpected("* OK", &line),
        }
    }

    fn capabilities(&mut self, connection: &mut Connection) -> Result<Capabilities, String> {
        let mut found = Capabilities::default();
        let end = self.command(connection, "CAPABILITY", |line| {
            if starts_with_ignore_case(line, "* CAPABILITY ") {
                found = parse_capabilities(line);
            }
        })?;
        match end.ok {
            true => Ok(found),
            false => unexpected("OK to CAPABILITY", &end.text),
        }
    }

    fn start_tls(&mut self, connection: &mut Connection) -> Result<(), String> {
        let end = self.command(connection, "STARTTLS", |_| {})?;
        match end.ok {
            true => Ok(()),
            false => unexpected("OK to STARTTLS", &end.text),
        }
    }

    fn log_in(
        &mut self,
        connection: &mut Connection,
        login: &Login,
        capabilities: &Capabilities,
    ) -> Result<Reply, String> {
        let tag = self.tag();
        if login.mechanism == Mechanism::Login {
            let user = quoted(&login.names.user);
            let password = Zeroizing::new(quoted(login.credential.expose()).to_string());
            let line = Zeroizing::new(format!("{tag} LOGIN {} {}\r\n", *user, *password));
            let as_shown = format!("{tag} LOGIN {} {}", *user, login.credential);
            connection.send_as(line.as_bytes(), &as_shown)?;
            return read_reply(connection, &tag, |_| {});
        }
        let command = format!("{tag} AUTHENTICATE {}", login.mechanism.name());
        let is_initial = |_| capabilities.initial_response;
        exchange(connection, login, &command, is_initial, |line| {
            match line.strip_prefix('+') {
                Some(text) => ServerLine::Challenge(text),
                None => parse_reply(line, &tag).map_or(ServerLine::Other, ServerLine::End),
            }
        })
    }

    fn log_out(&mut self, connection: &mut Connection) -> Result<(), String> {
        self.command(connection, "LOGOUT", |_| {}).map(drop)
    }
}

impl Imap {
    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("s{}", self.commands)
    }

    /// Sends a command and reads its tagged response; untagged responses are passed to `untagged`.
    fn command(
        &mut self,
        connection: &mut Connection,
        command: &str,
        untagged: impl FnMut(&str),
    ) -> Result<Reply, String> {
        let tag = self.tag();
        connection.send(&format!("{tag} {command}"))?;
        read_reply(connection, &tag, untagged)
    }
}

fn read_reply(
    connection: &mut Connection,
    tag: &str,
    mut untagged: impl FnMut(&str),
) -> Result<Reply, String> {
    loop {
        let line = connection.line()?;
        if let Some(reply) = parse_reply(&line, tag) {
            return Ok(reply);
        }
        untagged(&line);
    }
}

/// The reply, if `line` is the tagged response to the command with this tag.
fn parse_reply(line: &str, tag: &str) -> Option<Reply> {
    let text = line.strip_prefix(tag)?.strip_prefix(' ')?;
    Some(Reply {
        ok: starts_with_ignore_case(text, "OK"),
        text: text.to_owned(),
        challenge: None,
    })
}

fn parse_capabilities(line: &str) -> Capabilities {
    let mut found = Capabilities {
        login: true,
        ..Capabilities::default()
    };
    for word in line.split_ascii_whitespace() {
        let upper = word.to_ascii_uppercase();
        match upper.as_str() {
            "STARTTLS" => found.starttls = true,
            "SASL-IR" => found.initial_response = true,
            "LOGINDISABLED" => found.login = false,
            _ => {
                if let Some(mechanism) = upper.strip_prefix("AUTH=") {
                    found.mechanisms.push(mechanism.to_owned());
                }
            }
        }
    }
    found
}

/// A quoted string. `text` must not contain a line ending.
fn quoted(text: &str) -> Zeroizing<String> {
    let escaped = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
    Zeroizing::new(format!("\"{}\"", *escaped))
}

fn starts_with_ignore_case(line: &str, prefix: &str) -> bool {
    line.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_parsed() {
        let found = parse_capabilities(
            "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=CASPT auth=PLAIN SASL-IR XAUTH=NO",
        );
        assert_eq!(found.mechanisms, ["CASPT", "PLAIN"]);
        assert!(found.starttls && found.initial_response && !found.login);
        assert!(found.offer(Mechanism::Caspt) && !found.offer(Mechanism::Xoauth2));
        assert!(!found.offer(Mechanism::Login));
        assert!(parse_capabilities("* CAPABILITY IMAP4rev1").login);
    }

    #[test]
    fn only_the_response_with_the_same_tag_completes_a_command() {
        assert!(parse_reply("s1 OK done", "s1").unwrap().ok);
        let no = parse_reply("s1 NO [AUTHENTICATIONFAILED] no", "s1").unwrap();
        assert!(!no.ok);
        assert_eq!(no.text, "NO [AUTHENTICATIONFAILED] no");
        assert_eq!(parse_reply("s11 OK", "s1"), None);
        assert_eq!(parse_reply("* OK still here", "s1"), None);
    }

    #[test]
    fn special_characters_of_a_quoted_string_are_escaped() {
        assert_eq!(&*quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
