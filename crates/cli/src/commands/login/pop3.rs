//! POP3 (RFC 1939) with CAPA, STLS and AUTH (RFC 5034).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Connection;
use super::mechanism::{Login, Mechanism};
use super::protocol::{Capabilities, MailProtocol, Reply, unexpected};
use super::sasl_exchange::{ServerLine, exchange};

/// The maximum length of an AUTH command with an initial response, in bytes (RFC 5034, section 4).
const MAX_INITIAL_RESPONSE_LINE_BYTES: usize = 255;

/// The POP3 client.
pub(crate) struct Pop3;

impl MailProtocol for Pop3 {
    fn greeting(&mut self, connection: &mut Connection) -> Result<(), String> {
        expect_ok(connection, "+OK")
    }

    fn capabilities(&mut self, connection: &mut Connection) -> Result<Capabilities, String> {
        connection.send("CAPA")?;
        expect_ok(connection, "+OK to CAPA")?;
        let mut found = Capabilities {
            initial_response: true,
            ..Capabilities::default()
        };
        loop {
            let line = connection.line()?;
            if line == "." {
                return Ok(found);
            }
            parse_capability(&line, &mut found);
        }
    }

    fn start_tls(&mut self, connection: &mut Connection) -> Result<(), String> {
        connection.send("STLS")?;
        expect_ok(connection, "+OK to STLS")
    }

    fn log_in(
        &mut self,
        connection: &mut Connection,
        login: &Login,
        _: &Capabilities,
    ) -> Result<Reply, String> {
        if login.mechanism == Mechanism::Login {
            connection.send(&format!("USER {}", login.names.user))?;
            let reply = parse_reply(&connection.line()?);
            if !reply.ok {
                return Ok(reply);
            }
            let line = Zeroizing::new(format!("PASS {}\r\n", login.credential.expose()));
            connection.send_as(line.as_bytes(), &format!("PASS {}", login.credential))?;
            return Ok(parse_reply(&connection.line()?));
        }
        let command = format!("AUTH {}", login.mechanism.name());
        exchange(
            connection,
            login,
            &command,
            |length| length <= MAX_INITIAL_RESPONSE_LINE_BYTES,
            classify,
        )
    }

    fn log_out(&mut self, connection: &mut Connection) -> Result<(), String> {
        connection.send("QUIT")?;
        connection.line().map(drop)
    }
}

fn expect_ok(connection: &mut Connection, expected: &str) -> Result<(), String> {
    let line = connection.line()?;
    match parse_reply(&line).ok {
        true => Ok(()),
        false => unexpected(expected, &line),
    }
}

fn classify(line: &str) -> ServerLine<'_> {
    match line.strip_prefix("+ ").or((line == "+").then_some("")) {
        Some(text) => ServerLine::Challenge(text),
        None => ServerLine::End(parse_reply(line)),
    }
}

fn parse_reply(line: &str) -> Reply {
    Reply {
        ok: line.starts_with("+OK"),
        text: line.to_owned(),
        challenge: None,
    }
}

fn parse_capability(line: &str, found: &mut Capabilities) {
    let mut words = line.split_ascii_whitespace().map(str::to_ascii_uppercase);
    match words.next().as_deref() {
        Some("STLS") => found.starttls = true,
        Some("USER") => found.login = true,
        Some("SASL") => found.mechanisms.extend(words),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_parsed() {
        let mut found = Capabilities::default();
        for line in ["SASL PLAIN CASPT", "STLS", "EXPIRE NEVER", "", "USERS"] {
            parse_capability(line, &mut found);
        }
        assert_eq!(found.mechanisms, ["PLAIN", "CASPT"]);
        assert!(found.starttls && !found.login);
        parse_capability("user", &mut found);
        assert!(found.login);
    }
}
