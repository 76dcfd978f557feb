//! A login by POP3 (RFC 1939), with CAPA, STLS and AUTH (RFC 5034).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Link;
use super::mechanism::{Login, Mechanism};
use super::protocol::{Capabilities, Dialect, Reply, unexpected};
use super::sasl_exchange::{Heard, exchange};

/// The longest line with a first message in it (RFC 5034, section 4), in bytes.
const LONGEST: usize = 255;

/// A conversation.
pub(crate) struct Pop3;

impl Dialect for Pop3 {
    fn greeting(&mut self, link: &mut Link) -> Result<(), String> {
        ok(link, "+OK")
    }

    fn capabilities(&mut self, link: &mut Link) -> Result<Capabilities, String> {
        link.send("CAPA")?;
        ok(link, "+OK to CAPA")?;
        let mut found = Capabilities {
            initial_response: true,
            ..Capabilities::default()
        };
        loop {
            let line = link.line()?;
            if line == "." {
                return Ok(found);
            }
            capability(&line, &mut found);
        }
    }

    fn start_tls(&mut self, link: &mut Link) -> Result<(), String> {
        link.send("STLS")?;
        ok(link, "+OK to STLS")
    }

    fn log_in(
        &mut self,
        link: &mut Link,
        login: &Login,
        _: &Capabilities,
    ) -> Result<Reply, String> {
        if login.mechanism == Mechanism::Login {
            link.send(&format!("USER {}", login.names.user))?;
            let reply = ended(&link.line()?);
            if !reply.ok {
                return Ok(reply);
            }
            let line = Zeroizing::new(format!("PASS {}\r\n", login.secret.expose()));
            link.send_as(line.as_bytes(), &format!("PASS {}", login.secret))?;
            return Ok(ended(&link.line()?));
        }
        let command = format!("AUTH {}", login.mechanism.name());
        exchange(link, login, &command, |length| length <= LONGEST, heard)
    }

    fn log_out(&mut self, link: &mut Link) -> Result<(), String> {
        link.send("QUIT")?;
        link.line().map(drop)
    }
}

fn ok(link: &mut Link, expected: &str) -> Result<(), String> {
    let line = link.line()?;
    match ended(&line).ok {
        true => Ok(()),
        false => unexpected(expected, &line),
    }
}

fn heard(line: &str) -> Heard<'_> {
    match line.strip_prefix("+ ").or((line == "+").then_some("")) {
        Some(text) => Heard::Challenge(text),
        None => Heard::End(ended(line)),
    }
}

fn ended(line: &str) -> Reply {
    Reply {
        ok: line.starts_with("+OK"),
        text: line.to_owned(),
        challenge: None,
    }
}

fn capability(line: &str, found: &mut Capabilities) {
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
    fn capabilities_are_lines() {
        let mut found = Capabilities::default();
        for line in ["SASL PLAIN CASPT", "STLS", "EXPIRE NEVER", "", "USERS"] {
            capability(line, &mut found);
        }
        assert_eq!(found.mechanisms, ["PLAIN", "CASPT"]);
        assert!(found.starttls && !found.login);
        capability("user", &mut found);
        assert!(found.login);
    }
}
