//! Where the commands that people type reach the demonstration: a unix socket, one line of request
//! and one line of answer for each connection.

use super::harness::scratch::set_mode;
use super::site::Site;
use super::tokens::LIFETIME;
use super::{Outcome, guarded};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a connection may stay silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longer than any request.
const LONGEST: u64 = 256;

/// The listening socket.
pub struct Desk {
    listener: UnixListener,
    path: PathBuf,
    closed: AtomicBool,
}

impl Desk {
    /// Listens.
    pub fn open(site: &Site) -> Outcome<Self> {
        let path = site.scratch.join("desk");
        let listener = UnixListener::bind(&path)?;
        // Another terminal may be another user's. All there is to have is tickets and tokens for a
        // mail server with nothing in it.
        set_mode(&path, 0o666);
        Ok(Self {
            listener,
            path,
            closed: AtomicBool::new(false),
        })
    }

    /// The path of the socket.
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Answers, one request after the other, until it is closed.
    pub fn serve(&self, site: &Site) {
        for stream in self.listener.incoming().flatten() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            // A client that goes away does not need its answer.
            let _ = answer(stream, site);
        }
    }

    /// Ends [`Desk::serve`].
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Only a connection wakes a thread that waits in accept().
        let _ = UnixStream::connect(&self.path);
    }
}

fn answer(mut stream: UnixStream, site: &Site) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    BufReader::new((&stream).take(LONGEST)).read_line(&mut request)?;
    let outcome = match request.strip_suffix('\n') {
        Some(request) => guarded(|| act(site, request)),
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

fn act(site: &Site, request: &str) -> Outcome<String> {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["ticket", user] if !user.is_empty() => guarded(|| Ok(site.ticket(user)))
            // The error itself is long, and may have a proxy granting ticket in it.
            .map_err(|_| "CAS gives no ticket for that user; is it stopped?".into()),
        ["token", user] if !user.is_empty() => Ok(site.application.token(user, LIFETIME)),
        ["token", user, seconds] if !user.is_empty() => match seconds.parse::<i32>() {
            Ok(seconds) => Ok(site.application.token(user, seconds.into())),
            Err(_) => Err("usage: token USER [SECONDS]".into()),
        },
        ["cas", "stop"] => {
            site.cas().stop();
            Ok("CAS is stopped".to_owned())
        }
        ["cas", "start"] => {
            site.cas().start_again();
            Ok("CAS is up".to_owned())
        }
        _ => Err("usage: ticket USER, token USER [SECONDS], cas stop, cas start".into()),
    }
}
