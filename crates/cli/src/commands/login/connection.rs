//! A connection to the mail server. One deadline covers the whole connection, and the amount of
//! data that the server may send is bounded.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use super::tls;
use super::tls::TlsTrust;
use super::transcript::{Side, Transcript};

/// The maximum length of a line or literal from the server, in bytes.
const MAX_LINE_BYTES: usize = 32_768;

/// The maximum number of bytes that the server may send on one connection.
const MAX_RECEIVED_BYTES: usize = 262_144;

/// The connection to the server, and the transcript of what is sent and received.
pub(crate) struct Connection<'l, 't> {
    stream: Stream,
    /// Received bytes that have not been processed.
    unread: Vec<u8>,
    received: usize,
    pub(crate) transcript: &'l mut Transcript<'t>,
}

enum Stream {
    Clear(DeadlineStream),
    Tls(Box<StreamOwned<ClientConnection, DeadlineStream>>),
    /// During a handshake, and after a handshake that failed.
    Gone,
}

impl<'l, 't> Connection<'l, 't> {
    /// Connects to the first address of the host that accepts the connection.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        deadline: Instant,
        transcript: &'l mut Transcript<'t>,
    ) -> Result<Self, String> {
        let (tcp, address) = connect_tcp(host, port, deadline, |problem| transcript.note(problem))?;
        transcript.note(format!("connected to {address}"));
        Ok(Self {
            stream: Stream::Clear(tcp),
            unread: Vec::new(),
            received: 0,
            transcript,
        })
    }

    /// Performs the TLS handshake. The certificate is verified before anything else is sent.
    pub(crate) fn secure(&mut self, trust: &TlsTrust) -> Result<(), String> {
        let Stream::Clear(mut tcp) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err("TLS is there already".to_owned());
        };
        if !self.unread.is_empty() {
            let what = "the server sent something between its OK and TLS: nobody can say from whom \
                        that is. An attacker in between, or a server with a fault";
            return Err(what.to_owned());
        }
        let mut session = trust.session()?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp).map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                match inner {
                    Some(inner) => {
                        format!("TLS with {}: {}", trust.name(), tls::describe_error(inner))
                    }
                    None => format!("TLS with {}: {}", trust.name(), describe_error(&error)),
                }
            })?;
        }
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let name = trust.name();
        self.transcript
            .note(format!("{version}, the certificate is good for {name}"));
        self.stream = Stream::Tls(Box::new(StreamOwned::new(session, tcp)));
        Ok(())
    }

    /// Whether the connection is protected by TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Moves the deadline to `timeout` from now, if that is earlier.
    pub(crate) fn shorten_deadline(&mut self, timeout: Duration) {
        match &mut self.stream {
            Stream::Clear(tcp) => tcp.shorten_deadline(timeout),
            Stream::Tls(stream) => stream.sock.shorten_deadline(timeout),
            Stream::Gone => {}
        }
    }

    /// Sends bytes; the transcript shows `shown` in their place.
    pub(crate) fn send_as(&mut self, bytes: &[u8], shown: &str) -> Result<(), String> {
        self.transcript.record(Side::Client, shown);
        let sent = match &mut self.stream {
            Stream::Clear(tcp) => tcp.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        sent.map_err(|error| describe_error(&error))
    }

    /// Sends a line that contains no secret.
    pub(crate) fn send(&mut self, line: &str) -> Result<(), String> {
        self.send_as(format!("{line}\r\n").as_bytes(), line)
    }

    /// Reads a line and adds it to the transcript.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let line = self.raw_line()?;
        self.record_received(&line);
        Ok(line)
    }

    /// Adds text from the server to the transcript.
    pub(crate) fn record_received(&mut self, shown: &str) {
        self.transcript.record(Side::Server, shown);
    }

    /// Reads a line without its line ending. It is not added to the transcript.
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

    /// Reads `count` bytes. They are not added to the transcript.
    pub(crate) fn raw_bytes(&mut self, count: usize) -> Result<String, String> {
        if count > MAX_LINE_BYTES {
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
        let mut chunk = [0; 4096];
        let read = match &mut self.stream {
            Stream::Clear(tcp) => tcp.read(&mut chunk),
            Stream::Tls(stream) => stream.read(&mut chunk),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        };
        let count = match read {
            Ok(0) => return Err("the server closed the connection; see its log".to_owned()),
            Ok(count) => count,
            Err(error) => return Err(describe_error(&error)),
        };
        self.received += count;
        self.unread.extend_from_slice(&chunk[..count]);
        if self.received > MAX_RECEIVED_BYTES || self.unread.len() > MAX_LINE_BYTES + chunk.len() {
            return Err("the server does not stop talking; is it a mail server?".to_owned());
        }
        Ok(())
    }
}

/// Describes an I/O error of a connection.
fn describe_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the server did not answer within --timeout; see its log".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the server closed the connection; see its log".to_owned(),
        _ => error.to_string(),
    }
}

/// Connects to the first address of the host that accepts the connection. Failures of earlier
/// addresses are passed to `note`.
fn connect_tcp(
    host: &str,
    port: u16,
    deadline: Instant,
    mut note: impl FnMut(&str),
) -> Result<(DeadlineStream, SocketAddr), String> {
    let addresses = resolve(host, port, deadline)?;
    let mut problem = format!("{host} has no address");
    for (number, address) in addresses.iter().enumerate() {
        let remaining = deadline.saturating_duration_since(Instant::now());
        // The last address may use all the remaining time.
        let share = remaining / u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
        let share = share.max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // Each line is sent at once, in its own packet.
                let _ = stream.set_nodelay(true);
                return Ok((DeadlineStream { stream, deadline }, *address));
            }
            Err(error) => {
                problem = format!("{address}: {error}; does the service run there?");
                if number + 1 < addresses.len() {
                    note(&problem);
                }
            }
        }
    }
    Err(problem)
}

/// A TCP stream with one deadline for all reads and writes.
struct DeadlineStream {
    stream: TcpStream,
    deadline: Instant,
}

impl DeadlineStream {
    /// Moves the deadline to `timeout` from now, if that is earlier.
    fn shorten_deadline(&mut self, timeout: Duration) {
        self.deadline = self.deadline.min(Instant::now() + timeout);
    }

    fn remaining(&self) -> io::Result<Option<Duration>> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        match remaining.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(remaining)),
        }
    }
}

impl Read for DeadlineStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(self.remaining()?)?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for DeadlineStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.remaining()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Resolves the host name in a separate thread. A resolver that hangs cannot be interrupted: after
/// the deadline the thread is left behind.
fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = (host.to_owned(), port);
    let resolver = move || {
        let _ = sender.send(name.to_socket_addrs().map(Iterator::collect));
    };
    std::thread::Builder::new()
        .spawn(resolver)
        .map_err(|error| format!("{host}: no thread for its resolver: {error}"))?;
    let remaining = deadline.saturating_duration_since(Instant::now());
    match receiver.recv_timeout(remaining) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: no resolver answers")),
    }
}
