//! A server at a unix socket, used by the mocks of saslauthd. One thread accepts connections, and
//! each connection has its own. Dropping the server ends all of them.

use super::https_server::{End, lock};
use super::scratch::set_mode;
use std::collections::HashMap;
use std::fs;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Handles one connection.
type Handler = dyn Fn(UnixStream, &End) + Send + Sync;

/// A running server. Any user who can reach the directory of the socket may connect.
pub struct UnixServer {
    shared: Arc<Shared>,
    path: PathBuf,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    end: End,
    ended: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<HashMap<usize, UnixStream>>,
}

impl UnixServer {
    /// Starts to listen at `path`.
    pub fn start(path: &Path, handler: impl Fn(UnixStream, &End) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("cannot bind the unix socket");
        set_mode(path, 0o666);
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            end: End::default(),
            ended: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            open: Mutex::new(HashMap::new()),
        });
        let accepting = Arc::clone(&shared);
        Self {
            shared,
            path: path.to_owned(),
            acceptor: Some(thread::spawn(move || accepting.accept(&listener))),
        }
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let stream = stream.expect("cannot accept a connection");
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            let handle = stream.try_clone().expect("cannot duplicate the stream");
            lock(&self.open).insert(number, handle);
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                (shared.handler)(stream, &shared.end);
                // The duplicate would keep the connection open.
                lock(&shared.open).remove(&number);
            });
        }
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // accept() returns only when a client connects.
        let _ = UnixStream::connect(&self.path);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let _ = fs::remove_file(&self.path);
        self.shared.end.come();
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !lock(&self.shared.open).is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
