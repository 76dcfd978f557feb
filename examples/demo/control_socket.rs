//! The control socket, through which the commands reach the demonstration: a unix socket with one
//! line of request and one line of reply per connection.

use super::servers::DemoServers;
use super::tokens::TOKEN_LIFETIME_SECONDS;
use super::{Outcome, guarded};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use test_support::scratch::set_mode;

/// Time-out for reads and writes on a connection.
const IO_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum length of a request in bytes.
const MAX_REQUEST_BYTES: u64 = 256;

/// The listening socket.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    closed: AtomicBool,
}

impl ControlSocket {
    /// Starts to listen.
    pub fn open(servers: &DemoServers) -> Outcome<Self> {
        let path = servers.scratch.join("control");
        let listener = UnixListener::bind(&path)?;
        // Other users may connect. All they can get is tickets and tokens for an empty mail server.
        set_mode(&path, 0o666);
        Ok(Self {
            listener,
            path,
            closed: AtomicBool::new(false),
        })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Serves one request after the other until the socket is closed.
    pub fn serve(&self, servers: &DemoServers) {
        for stream in self.listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            // A client that has closed the connection needs no reply.
            let _ = answer(stream, servers);
        }
    }

    /// Ends [`ControlSocket::serve`].
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // accept() returns only when a client connects.
        let _ = UnixStream::connect(&self.path);
    }
}

fn answer(mut stream: UnixStream, servers: &DemoServers) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    let mut request = String::new();
    BufReader::new((&stream).take(MAX_REQUEST_BYTES)).read_line(&mut request)?;
    let outcome = match request.strip_suffix('\n') {
        Some(request) => guarded(|| execute(servers, request)),
        None => Err("the request is too long".into()),
    };
    let answer = match outcome {
        Ok(answer) => format!("ok {answer}\n"),
        Err(error) => {
            let error = error.to_string();
            format!("error {}\n", error.lines().next().unwrap_or_default())
        }
    };
    stream.write_all(answer.as_bytes())
}

fn execute(servers: &DemoServers, request: &str) -> Outcome<String> {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["ticket", user] if !user.is_empty() => guarded(|| Ok(servers.ticket(user)))
            // The error itself is long and may contain a proxy-granting ticket.
            .map_err(|_| "CAS did not issue a ticket for that user; is it stopped?".into()),
        ["token", user] if !user.is_empty() => {
            Ok(servers.application.token(user, TOKEN_LIFETIME_SECONDS))
        }
        ["token", user, seconds] if !user.is_empty() => match seconds.parse::<i32>() {
            Ok(seconds) => Ok(servers.application.token(user, seconds.into())),
            Err(_) => Err("usage: token USER [SECONDS]".into()),
        },
        ["cas", "stop"] => {
            servers.cas().stop();
            Ok("CAS is stopped".to_owned())
        }
        ["cas", "start"] => {
            servers.cas().start_again();
            Ok("CAS is up".to_owned())
        }
        _ => Err("usage: ticket USER, token USER [SECONDS], cas stop, cas start".into()),
    }
}
