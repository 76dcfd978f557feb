//! A login by IMAP (RFC 3501), with SASL-IR (RFC 4959).

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Link;
use super::mechanism::{Login, Mechanism};
use super::protocol::{Capabilities, Dialect, Reply, unexpected};
use super::sasl_exchange::{Heard, exchange};

/// A conversation.
#[derive(Default)]
pub(crate) struct Imap {
    commands: u32,
}

impl Dialect for Imap {
    fn greeting(&mut self, link: &mut Link) -> Result<(), String> {
        let line = link.line()?;
        match () {
            () if begins(&line, "* OK") => Ok(()),
            // TLS cannot be asked for any more, which an attacker would like.
            () if begins(&line, "* PREAUTH") => {
                Err("the server says that we are logged in already: there is nothing to try".into())
            }
            () => unexpected("* OK", &line),
        }
    }

    fn capabilities(&mut self, link: &mut Link) -> Result<Capabilities, String> {
        let mut found = Capabilities::default();
        let end = self.command(link, "CAPABILITY", |line| {
            if begins(line, "* CAPABILITY ") {
                found = capabilities(line);
            }
        })?;
        match end.ok {
            true => Ok(found),
            false => unexpected("OK to CAPABILITY", &end.text),
        }
    }

    fn start_tls(&mut self, link: &mut Link) -> Result<(), String> {
        let end = self.command(link, "STARTTLS", |_| {})?;
        match end.ok {
            true => Ok(()),
            false => unexpected("OK to STARTTLS", &end.text),
        }
    }

    fn log_in(
        &mut self,
        link: &mut Link,
        login: &Login,
        capabilities: &Capabilities,
    ) -> Result<Reply, String> {
        let tag = self.tag();
        if login.mechanism == Mechanism::Login {
            let user = quoted(&login.names.user);
            let password = Zeroizing::new(quoted(login.secret.expose()).to_string());
            let line = Zeroizing::new(format!("{tag} LOGIN {} {}\r\n", *user, *password));
            let as_shown = format!("{tag} LOGIN {} {}", *user, login.secret);
            link.send_as(line.as_bytes(), &as_shown)?;
            return end(link, &tag, |_| {});
        }
        let command = format!("{tag} AUTHENTICATE {}", login.mechanism.name());
        let is_initial = |_| capabilities.initial_response;
        exchange(link, login, &command, is_initial, |line| {
            match line.strip_prefix('+') {
                Some(text) => Heard::Challenge(text),
                None => ended(line, &tag).map_or(Heard::Other, Heard::End),
            }
        })
    }

    fn log_out(&mut self, link: &mut Link) -> Result<(), String> {
        self.command(link, "LOGOUT", |_| {}).map(drop)
    }
}

impl Imap {
    fn tag(&mut self) -> String {
        self.commands += 1;
        format!("s{}", self.commands)
    }

    /// A command and its end; what comes untagged before goes to `look`.
    fn command(
        &mut self,
        link: &mut Link,
        command: &str,
        look: impl FnMut(&str),
    ) -> Result<Reply, String> {
        let tag = self.tag();
        link.send(&format!("{tag} {command}"))?;
        end(link, &tag, look)
    }
}

fn end(link: &mut Link, tag: &str, mut look: impl FnMut(&str)) -> Result<Reply, String> {
    loop {
        let line = link.line()?;
        if let Some(reply) = ended(&line, tag) {
            return Ok(reply);
        }
        look(&line);
    }
}

/// The end of the command of this tag, if the line is that.
fn ended(line: &str, tag: &str) -> Option<Reply> {
    let text = line.strip_prefix(tag)?.strip_prefix(' ')?;
    Some(Reply {
        ok: begins(text, "OK"),
        text: text.to_owned(),
        challenge: None,
    })
}

fn capabilities(line: &str) -> Capabilities {
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

/// A quoted string; there is no end of a line in it.
fn quoted(text: &str) -> Zeroizing<String> {
    let escaped = Zeroizing::new(text.replace('\\', "\\\\").replace('"', "\\\""));
    Zeroizing::new(format!("\"{}\"", *escaped))
}

fn begins(line: &str, with: &str) -> bool {
    line.get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_words() {
        let found = capabilities(
            "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=CASPT auth=PLAIN SASL-IR XAUTH=NO",
        );
        assert_eq!(found.mechanisms, ["CASPT", "PLAIN"]);
        assert!(found.starttls && found.initial_response && !found.login);
        assert!(found.offer(Mechanism::Caspt) && !found.offer(Mechanism::Xoauth2));
        assert!(!found.offer(Mechanism::Login));
        assert!(capabilities("* CAPABILITY IMAP4rev1").login);
    }

    #[test]
    fn a_command_ends_with_its_own_tag() {
        assert!(ended("s1 OK done", "s1").unwrap().ok);
        let no = ended("s1 NO [AUTHENTICATIONFAILED] no", "s1").unwrap();
        assert!(!no.ok);
        assert_eq!(no.text, "NO [AUTHENTICATIONFAILED] no");
        assert_eq!(ended("s11 OK", "s1"), None);
        assert_eq!(ended("* OK still here", "s1"), None);
    }

    #[test]
    fn a_quoted_string_holds_whatever_is_in_it() {
        assert_eq!(&*quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
