//! A server of threads at a unix socket, for what stands where a saslauthd would: one accepts, each
//! connection has one, and all are gone when it is dropped.

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

/// What a server does with a connection.
type Handler = dyn Fn(UnixStream, &End) + Send + Sync;

/// A listening server. Whoever can reach its directory may connect.
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
        let listener = UnixListener::bind(path).expect("a socket to listen at");
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

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many connections it has accepted.
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
            let stream = stream.expect("a connection");
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            let handle = stream.try_clone().expect("a stream");
            lock(&self.open).insert(number, handle);
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                (shared.handler)(stream, &shared.end);
                // The handle here would keep the connection open.
                lock(&shared.open).remove(&number);
            });
        }
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Only a connection wakes a thread that waits in accept().
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
