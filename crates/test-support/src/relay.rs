//! A relay between two unix sockets. It copies bytes in both directions and records what the
//! clients send.

use super::https_server::lock;
use super::unix_server::UnixServer;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// A running relay.
pub struct Relay {
    server: UnixServer,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    /// Starts a relay that listens at `path` and forwards to the socket `behind`.
    pub fn start(path: &Path, behind: &Path) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, behind) = (Arc::clone(&requests), behind.to_owned());
        let server = UnixServer::start(path, move |client, _| {
            let server = UnixStream::connect(&behind)
                .expect("cannot connect to the server behind the relay");
            pass_on(&client, &server, &kept);
        });
        Self { server, requests }
    }

    /// Returns the path of the relay's socket.
    pub fn path(&self) -> &Path {
        self.server.path()
    }

    /// Returns the recorded bytes of each connection on which a client sent any.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        lock(&self.requests).clone()
    }
}

fn pass_on(client: &UnixStream, server: &UnixStream, kept: &Mutex<Vec<Vec<u8>>>) {
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client, |_| {}));
        let mut number = None;
        copy(client, server, |bytes| {
            // Recorded before it is forwarded, so that a client that has the reply finds its
            // request here.
            let mut kept = lock(kept);
            let number = *number.get_or_insert_with(|| {
                kept.push(Vec::new());
                kept.len() - 1
            });
            kept[number].extend_from_slice(bytes);
        });
    });
}

/// Copies until `from` ends, and then shuts down the writing side of `to`.
fn copy(mut from: &UnixStream, mut to: &UnixStream, mut keep: impl FnMut(&[u8])) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        keep(&piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
