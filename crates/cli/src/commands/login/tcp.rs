//! TCP with a deadline, whatever the other end does.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Connects to the first of the host's addresses that answers; `note` is told of those before
/// it that do not.
pub(crate) fn connect(
    host: &str,
    port: u16,
    end: Instant,
    mut note: impl FnMut(&str),
) -> Result<(Timed, SocketAddr), String> {
    let addresses = resolved(host, port, end)?;
    let mut problem = format!("{host} has no address");
    for (number, address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        // The last one may take all that is left.
        let share = left / u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
        let share = share.max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => {
                // A line is a packet, and waits for nothing.
                let _ = stream.set_nodelay(true);
                return Ok((Timed { stream, end }, *address));
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

/// A connection with a deadline for each read and each write.
pub(crate) struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    /// Ends it this soon, if it would not end sooner.
    pub(crate) fn hurry(&mut self, patience: Duration) {
        self.end = self.end.min(Instant::now() + patience);
    }

    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(self.left()?)?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The host's addresses. No time-out ends a resolver that hangs: it is left behind in a
/// thread of its own.
fn resolved(host: &str, port: u16, end: Instant) -> Result<Vec<SocketAddr>, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = (host.to_owned(), port);
    let resolver = move || {
        let _ = sender.send(name.to_socket_addrs().map(Iterator::collect));
    };
    std::thread::Builder::new()
        .spawn(resolver)
        .map_err(|error| format!("{host}: no thread for its resolver: {error}"))?;
    let left = end.saturating_duration_since(Instant::now());
    match receiver.recv_timeout(left) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: no resolver answers")),
    }
}
