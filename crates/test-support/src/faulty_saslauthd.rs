//! A mock saslauthd whose behaviour a test sets.

use super::https_server::{End, lock};
use super::unix_server::UnixServer;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the server answers a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Sends these bytes and closes the connection, as saslauthd does.
    Bytes(Vec<u8>),
    /// Sends these bytes one by one, 20 ms apart, and closes the connection.
    Drip(Vec<u8>),
    /// Never answers while the server runs.
    Never,
}

/// A running mock server.
pub struct FaultySaslauthd {
    server: UnixServer,
    answer: Arc<Mutex<Answer>>,
}

impl FaultySaslauthd {
    /// Starts a server that listens at `path`.
    pub fn start(path: &Path, answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let current = Arc::clone(&answer);
        let server = UnixServer::start(path, move |stream, end| {
            let answer = lock(&current).clone();
            play(stream, &answer, end);
        });
        Self { server, answer }
    }

    /// Sets the answer to new requests. Connections that hang continue to hang.
    pub fn set(&self, answer: Answer) {
        *lock(&self.answer) = answer;
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

fn play(mut stream: UnixStream, answer: &Answer, end: &End) {
    // Requests of the tests arrive in one read.
    let mut request = [0; 4096];
    let _ = stream.read(&mut request);
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes);
        }
        Answer::Drip(bytes) => {
            for byte in bytes {
                if stream.write_all(&[*byte]).is_err() || !end.sleep(Duration::from_millis(20)) {
                    return;
                }
            }
        }
        Answer::Never => while end.sleep(Duration::from_secs(60)) {},
    }
}
