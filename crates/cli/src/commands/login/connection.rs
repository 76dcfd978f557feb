//! A connection to the mail server: one deadline for all of it, and bounds for what
//! comes.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::tcp;
use super::tcp::Timed;
use super::tls;
use super::tls::Trust;
use super::transcript::{Side, Transcript};

/// The longest line or literal that a server may send, in bytes.
const LONGEST: usize = 32_768;

/// All that it may send on one connection, in bytes.
const MOST: usize = 262_144;

/// The server's end of a conversation, and the record of it.
pub(crate) struct Link<'l, 't> {
    stream: Stream,
    /// What has come and is not used yet.
    unread: Vec<u8>,
    heard: usize,
    pub(crate) transcript: &'l mut Transcript<'t>,
}

enum Stream {
    Clear(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
    /// While a handshake is under way, and after one that failed.
    Gone,
}

impl<'l, 't> Link<'l, 't> {
    /// Connects to the first of the host's addresses that answers.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        end: Instant,
        transcript: &'l mut Transcript<'t>,
    ) -> Result<Self, String> {
        let (timed, address) = tcp::connect(host, port, end, |problem| transcript.note(problem))?;
        transcript.note(format!("connected to {address}"));
        Ok(Self {
            stream: Stream::Clear(timed),
            unread: Vec::new(),
            heard: 0,
            transcript,
        })
    }

    /// Begins TLS, and verifies the certificate before anything else is sent.
    pub(crate) fn secure(&mut self, trust: &Trust) -> Result<(), String> {
        let Stream::Clear(mut timed) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err("TLS is there already".to_owned());
        };
        if !self.unread.is_empty() {
            let what = "the server sent something between its OK and TLS: nobody can say from whom \
                        that is. An attacker in between, or a server with a fault";
            return Err(what.to_owned());
        }
        let mut connection = trust.connection()?;
        while connection.is_handshaking() {
            connection.complete_io(&mut timed).map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                match inner {
                    Some(inner) => {
                        format!("TLS with {}: {}", trust.name(), tls::explained(inner))
                    }
                    None => format!("TLS with {}: {}", trust.name(), told(&error)),
                }
            })?;
        }
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let name = trust.name();
        self.transcript
            .note(format!("{version}, the certificate is good for {name}"));
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, timed)));
        Ok(())
    }

    /// Whether nobody can listen.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Ends it this soon, if it would not end sooner.
    pub(crate) fn hurry(&mut self, patience: Duration) {
        match &mut self.stream {
            Stream::Clear(timed) => timed.hurry(patience),
            Stream::Tls(stream) => stream.sock.hurry(patience),
            Stream::Gone => {}
        }
    }

    /// Sends bytes that are shown as `shown`.
    pub(crate) fn send_as(&mut self, bytes: &[u8], shown: &str) -> Result<(), String> {
        self.transcript.say(Side::Client, shown);
        let sent = match &mut self.stream {
            Stream::Clear(timed) => timed.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        sent.map_err(|error| told(&error))
    }

    /// Sends a line in which there is nothing to hide.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), String> {
        self.send_as(format!("{line}\r\n").as_bytes(), line)
    }

    /// A line of the server, shown as it is.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let line = self.raw_line()?;
        self.heard(&line);
        Ok(line)
    }

    /// What the server said.
    pub(crate) fn heard(&mut self, shown: &str) {
        self.transcript.say(Side::Server, shown);
    }

    /// A line that is not shown yet, without its end.
    pub(crate) fn raw_line(&mut self) -> Result<String, String> {
        let end = loop {
            match self.unread.iter().position(|byte| *byte == b'\n') {
                Some(end) => break end,
                None => self.read_more()?,
            }
        };
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// So many bytes that are not shown yet.
    pub(crate) fn raw_bytes(&mut self, count: usize) -> Result<String, String> {
        if count > LONGEST {
            return Err(format!(
                "the server announces {count} bytes, which is no answer"
            ));
        }
        while self.unread.len() < count {
            self.read_more()?;
        }
        let bytes: Vec<u8> = self.unread.drain(..count).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_more(&mut self) -> Result<(), String> {
        let mut piece = [0; 4096];
        let read = match &mut self.stream {
            Stream::Clear(timed) => timed.read(&mut piece),
            Stream::Tls(stream) => stream.read(&mut piece),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        let count = match read {
            Ok(0) => return Err("the server closed the connection; see its log".to_owned()),
            Ok(count) => count,
            Err(error) => return Err(told(&error)),
        };
        self.heard += count;
        self.unread.extend_from_slice(&piece[..count]);
        if self.heard > MOST || self.unread.len() > LONGEST + piece.len() {
            return Err("the server does not stop talking; is it a mail server?".to_owned());
        }
        Ok(())
    }
}

/// What went wrong with a connection.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the server did not answer within --timeout; see its log".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the server closed the connection; see its log".to_owned(),
        _ => error.to_string(),
    }
}
