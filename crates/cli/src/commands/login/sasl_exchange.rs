//! The SASL exchange of the line-based protocols, IMAP and POP3.

#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::connection::Connection;
use super::mechanism::{Login, decode_base64, display_base64, encode_base64};
use super::protocol::{MAX_CHALLENGES, Reply, unexpected};

/// The meaning of a line from the server during the exchange.
pub(crate) enum ServerLine<'l> {
    /// A challenge in base64; may be empty.
    Challenge(&'l str),
    /// The reply that completes the exchange.
    End(Reply),
    /// A line that is unrelated to the exchange.
    Other,
}

/// Sends `command` and the first message, and answers challenges until the server replies. The
/// message is part of the command line if `allows_initial_response` accepts that line's length;
/// otherwise it answers the server's first challenge.
pub(crate) fn exchange(
    connection: &mut Connection,
    login: &Login,
    command: &str,
    allows_initial_response: impl Fn(usize) -> bool,
    classify: impl Fn(&str) -> ServerLine,
) -> Result<Reply, String> {
    let message = encode_base64(&login.message());
    let line = Zeroizing::new(format!("{command} {}\r\n", *message));
    let mut is_message_sent = allows_initial_response(line.len());
    if is_message_sent {
        connection.send_as(
            line.as_bytes(),
            &format!("{command} {}", login.display_message()),
        )?;
    } else {
        connection.send(command)?;
    }
    let mut challenges = 0;
    let mut challenge = None;
    while challenges < MAX_CHALLENGES {
        let line = connection.raw_line()?;
        let text = match classify(&line) {
            ServerLine::Challenge(text) => text,
            ServerLine::End(reply) => {
                connection.record_received(&line);
                return Ok(Reply { challenge, ..reply });
            }
            ServerLine::Other => {
                connection.record_received(&line);
                continue;
            }
        };
        challenges += 1;
        if !is_message_sent {
            is_message_sent = true;
            connection.record_received(&line);
            let line = Zeroizing::new(format!("{}\r\n", *message));
            connection.send_as(line.as_bytes(), &login.display_message())?;
            continue;
        }
        let text = decode_base64(text).unwrap_or_else(|| text.to_owned());
        connection.record_received(&format!("+ {}", display_base64(&text)));
        challenge = Some(text);
        let answer = encode_base64(login.answer());
        connection.send_as(
            format!("{}\r\n", *answer).as_bytes(),
            &display_base64(login.answer()),
        )?;
    }
    unexpected("yes or no", "+, again and again")
}
