//! A saslauthd that misbehaves as told.

use super::https_server::{End, lock};
use super::unix_server::UnixServer;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These bytes, and then the end, as saslauthd does.
    Bytes(Vec<u8>),
    /// These bytes one by one, and then the end.
    Drip(Vec<u8>),
    /// None, for as long as the server lives.
    Never,
}

/// A running server.
pub struct FaultySaslauthd {
    server: UnixServer,
    answer: Arc<Mutex<Answer>>,
}

impl FaultySaslauthd {
    /// Starts to listen at `path`.
    pub fn start(path: &Path, answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let told = Arc::clone(&answer);
        let server = UnixServer::start(path, move |stream, end| {
            let answer = lock(&told).clone();
            play(stream, &answer, end);
        });
        Self { server, answer }
    }

    /// What to do with requests from now on; those that hang go on hanging.
    pub fn set(&self, answer: Answer) {
        *lock(&self.answer) = answer;
    }

    /// How often it was asked.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

fn play(mut stream: UnixStream, answer: &Answer, end: &End) {
    // Requests of the tests come in one piece.
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
