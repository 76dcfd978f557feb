//! A raw IMAP client: a test controls every line that is sent.

use super::authority::Authority;
use super::tls::{self, ClientStream};
use super::wait::{PATIENCE, STARTING};
use super::{base64, imap_reply};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

pub use super::imap_reply::Reply;

enum Stream {
    Plain(TcpStream),
    Tls(Box<ClientStream>),
    /// Placeholder while STARTTLS replaces the stream.
    Gone,
}

/// One connection to an IMAP server.
pub struct Imap {
    stream: Stream,
    received: Vec<u8>,
    greeting: String,
    tags: u32,
}

impl Imap {
    /// Connects and reads the greeting.
    pub fn connect(port: u16) -> Self {
        Self::greeted(Stream::Plain(open(port)))
    }

    /// Like [`Imap::connect`], but returns `None` if there is no server or it closes the connection
    /// without a greeting.
    pub fn try_connect(port: u16) -> Option<Self> {
        let stream = try_open(port).ok()?;
        stream.set_read_timeout(Some(STARTING)).ok()?;
        Self::try_greeted(Stream::Plain(stream))
    }

    /// Connects to a port with implicit TLS and reads the greeting.
    pub fn connect_tls(port: u16, authority: &Authority) -> Self {
        let stream = tls::connect(authority.ca_pem(), open(port));
        Self::greeted(Stream::Tls(Box::new(stream)))
    }

    /// Returns the greeting.
    pub fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends CAPABILITY and returns the capabilities.
    pub fn capabilities(&mut self) -> Vec<String> {
        let reply = self.command("CAPABILITY");
        reply
            .untagged
            .iter()
            .filter_map(|line| line.strip_prefix("* CAPABILITY "))
            .flat_map(|line| line.split_whitespace().map(str::to_owned))
            .collect()
    }

    /// Starts TLS with this CA as the only trust anchor.
    pub fn starttls(&mut self, authority: &Authority) {
        let reply = self.command("STARTTLS");
        assert!(reply.ok, "STARTTLS: {}", reply.status_line);
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            panic!("TLS is started already");
        };
        self.stream = Stream::Tls(Box::new(tls::connect(authority.ca_pem(), stream)));
    }

    /// Sends AUTHENTICATE with an initial response and answers each challenge with the next of
    /// `answers`. Cancels the exchange when they are used up.
    pub fn authenticate(&mut self, mechanism: &str, initial: &[u8], answers: &[&[u8]]) -> Reply {
        let initial = match initial {
            [] => "=".to_owned(),
            bytes => base64::encode(bytes),
        };
        let tag = self.send_command(&format!("AUTHENTICATE {mechanism} {initial}"));
        let answers: Vec<String> = answers.iter().map(|bytes| base64::encode(bytes)).collect();
        self.finish(&tag, &answers)
    }

    /// Sends AUTHENTICATE without an initial response. The first of `answers` responds to the first
    /// `+`.
    pub fn authenticate_by_challenge(&mut self, mechanism: &str, answers: &[&[u8]]) -> Reply {
        let tag = self.send_command(&format!("AUTHENTICATE {mechanism}"));
        let answers: Vec<String> = answers.iter().map(|bytes| base64::encode(bytes)).collect();
        self.finish(&tag, &answers)
    }

    /// Sends AUTHENTICATE without encoding `initial` and `answers`, which may be `*` or invalid
    /// base64.
    pub fn authenticate_raw(
        &mut self,
        mechanism: &str,
        initial: Option<&str>,
        answers: &[&str],
    ) -> Reply {
        let initial = initial.map(|text| format!(" {text}")).unwrap_or_default();
        let tag = self.send_command(&format!("AUTHENTICATE {mechanism}{initial}"));
        let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
        self.finish(&tag, &answers)
    }

    /// Sends LOGIN with both arguments as quoted strings.
    pub fn login(&mut self, user: &str, password: &str) -> Reply {
        self.command(&format!("LOGIN {} {}", quoted(user), quoted(password)))
    }

    /// Sends LOGOUT.
    pub fn logout(&mut self) -> Reply {
        self.command("LOGOUT")
    }

    /// Sends a command with a new tag and reads up to its tagged reply.
    pub fn command(&mut self, command: &str) -> Reply {
        let tag = self.send_command(command);
        self.finish(&tag, &[])
    }

    /// Sends a command with a new tag, returns the tag and reads nothing.
    pub fn send_command(&mut self, command: &str) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {command}\r\n").as_bytes());
        tag
    }

    /// Sends raw bytes. Ignores a closed connection, which the next read reports.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Gone => unreachable!("TLS did not start"),
        };
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
        match sent {
            Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {}
            sent => sent.expect("cannot send to the IMAP server"),
        }
    }

    /// Reads up to the reply with `tag` and answers each challenge.
    pub fn finish(&mut self, tag: &str, answers: &[String]) -> Reply {
        let mut answers = answers.iter();
        let mut reply = imap_reply::Collector::default();
        loop {
            let Some(line) = self.line() else {
                return reply.closed();
            };
            if let Some(status) = line.strip_prefix(&format!("{tag} ")) {
                return reply.ended(status);
            }
            if let Some(challenge) = line.strip_prefix('+') {
                reply.challenge(challenge);
                let answer = answers.next().map_or("*", String::as_str);
                self.send(format!("{answer}\r\n").as_bytes());
            } else {
                reply.untagged(line);
            }
        }
    }

    /// Reads a line and returns it without the line end. Returns `None` if the server closed the
    /// connection.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut buffer = [0; 4096];
            let read = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut buffer),
                Stream::Tls(stream) => stream.read(&mut buffer),
                Stream::Gone => unreachable!("TLS did not start"),
            };
            match read {
                Ok(0) => return None,
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if is_timeout(&error) => panic!("the IMAP server did not reply in time"),
                Err(_) => return None,
            }
        }
    }

    /// Sets the time limit for a reply. The default is [`PATIENCE`].
    pub fn set_timeout(&mut self, timeout: Duration) {
        let stream = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
            Stream::Gone => unreachable!("TLS did not start"),
        };
        stream
            .set_read_timeout(Some(timeout))
            .expect("cannot set the read time-out");
    }

    fn greeted(stream: Stream) -> Self {
        Self::try_greeted(stream).expect("the IMAP server sent no greeting")
    }

    fn try_greeted(stream: Stream) -> Option<Self> {
        let mut imap = Self {
            stream,
            received: Vec::new(),
            greeting: String::new(),
            tags: 0,
        };
        imap.greeting = imap.line()?;
        Some(imap)
    }
}

fn open(port: u16) -> TcpStream {
    try_open(port).expect("cannot connect to the IMAP server")
}

fn try_open(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn quoted(word: &str) -> String {
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}
