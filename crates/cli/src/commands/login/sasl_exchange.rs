//! The exchange of SASL in protocols of lines: IMAP's and POP3's.

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Link;
use super::mechanism::{Login, decoded, encoded, shown};
use super::protocol::{MOST_CHALLENGES, Reply, unexpected};

/// What a line of the server is.
pub(crate) enum Heard<'l> {
    /// Base64, or nothing.
    Challenge(&'l str),
    /// The end.
    End(Reply),
    /// Something that has nothing to do with it.
    Other,
}

/// Sends `command` and the first message, with it or when the server asks for it, and
/// answers until the server has made up its mind.
pub(crate) fn exchange(
    link: &mut Link,
    login: &Login,
    command: &str,
    is_initial: impl Fn(usize) -> bool,
    read: impl Fn(&str) -> Heard,
) -> Result<Reply, String> {
    let message = encoded(&login.message());
    let line = Zeroizing::new(format!("{command} {}\r\n", *message));
    let mut is_said = is_initial(line.len());
    if is_said {
        link.send_as(line.as_bytes(), &format!("{command} {}", login.shown()))?;
    } else {
        link.send(command)?;
    }
    let mut challenges = 0;
    let mut challenge = None;
    while challenges < MOST_CHALLENGES {
        let line = link.raw_line()?;
        let text = match read(&line) {
            Heard::Challenge(text) => text,
            Heard::End(reply) => {
                link.heard(&line);
                return Ok(Reply { challenge, ..reply });
            }
            Heard::Other => {
                link.heard(&line);
                continue;
            }
        };
        challenges += 1;
        if !is_said {
            is_said = true;
            link.heard(&line);
            let line = Zeroizing::new(format!("{}\r\n", *message));
            link.send_as(line.as_bytes(), &login.shown())?;
            continue;
        }
        let text = decoded(text).unwrap_or_else(|| text.to_owned());
        link.heard(&format!("+ {}", shown(&text)));
        challenge = Some(text);
        let answer = encoded(login.answer());
        link.send_as(
            format!("{}\r\n", *answer).as_bytes(),
            &shown(login.answer()),
        )?;
    }
    unexpected("yes or no", "+, again and again")
}
