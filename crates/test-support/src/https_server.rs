//! A multi-threaded server. One thread accepts connections, and each connection has its own.
//! Dropping the server ends all of them.

use super::authority::Identity;
use super::port::Port;
use super::tls;
use super::wait::{PATIENCE, wait_until};
use nix::time::{ClockId, clock_gettime};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Time-out for reads and writes on a connection.
const IO_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection with or without TLS.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Handles one connection. The first read performs the TLS handshake.
pub type Handler = dyn Fn(&mut dyn Stream, &End) + Send + Sync;

/// A running server.
pub struct Server {
    shared: Arc<Shared>,
    address: IpAddr,
    port: Port,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    handler: Box<Handler>,
    end: End,
    refusing: Mutex<bool>,
    accepted: AtomicUsize,
    /// CPU time in nanoseconds that the connection threads have used.
    worked: AtomicU64,
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl Server {
    /// Starts to listen on 127.0.0.1, for https if there is an identity, else for http.
    pub fn start(
        identity: Option<&Identity>,
        handler: impl Fn(&mut dyn Stream, &End) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), identity, handler)
    }

    /// Like [`Server::start`], but listens on this address alone.
    pub fn start_at(
        address: IpAddr,
        identity: Option<&Identity>,
        handler: impl Fn(&mut dyn Stream, &End) + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            tls: identity.map(tls::server_config),
            handler: Box::new(handler),
            end: End::default(),
            refusing: Mutex::new(false),
            accepted: AtomicUsize::new(0),
            worked: AtomicU64::new(0),
            open: Mutex::new(HashMap::new()),
        };
        let mut server = Self {
            shared: Arc::new(shared),
            address,
            port: Port::reserve(),
            acceptor: None,
        };
        server.listen();
        server
    }

    /// Returns `https://localhost:PORT` or `http://localhost:PORT`.
    pub fn origin(&self) -> String {
        let scheme = match self.shared.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://localhost:{}", self.port.number())
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Waits until all connections are closed and returns the CPU time that they used.
    pub fn worked(&self) -> Duration {
        wait_until(PATIENCE, || lock(&self.shared.open).is_empty());
        Duration::from_nanos(self.shared.worked.load(Ordering::SeqCst))
    }

    /// Closes the listening socket: the kernel refuses connections from now on.
    pub fn refuse(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        *lock(&self.shared.refusing) = true;
        // accept() returns only when a client connects.
        let _ = TcpStream::connect((self.address, self.port.number()));
        let _ = acceptor.join();
    }

    /// Listens on the same port again.
    pub fn listen_again(&mut self) {
        if self.acceptor.is_none() {
            self.listen();
        }
    }

    fn listen(&mut self) {
        *lock(&self.shared.refusing) = false;
        let bind = || TcpListener::bind((self.address, self.port.number()));
        let mut listener = bind();
        // A program that another test is just starting may have inherited the socket that checked
        // whether the port is free.
        wait_until(PATIENCE, || {
            if listener.is_err() {
                listener = bind();
            }
            listener.is_ok()
        });
        let listener = listener.expect("cannot listen on the reserved port");
        let shared = Arc::clone(&self.shared);
        self.acceptor = Some(thread::spawn(move || shared.accept(&listener)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.refuse();
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

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if *lock(&self.refusing) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            let Ok(handle) = stream.try_clone() else {
                continue;
            };
            lock(&self.open).insert(number, handle);
            let shared = Arc::clone(&self);
            thread::spawn(move || {
                shared.serve(stream);
                lock(&shared.open).remove(&number);
            });
        }
    }

    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_read_timeout(Some(IO_TIMEOUT));
        let _ = stream.set_write_timeout(Some(IO_TIMEOUT));
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => {
                let mut stream = stream;
                (self.handler)(&mut stream, &self.end);
                self.note_work();
            }
            Some(config) => {
                let mut stream = tls::accept(config, stream);
                (self.handler)(&mut stream, &self.end);
                self.note_work();
                // A flush would perform a handshake that the handler did not ask for.
                if !stream.conn.is_handshaking() {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        }
    }

    /// Adds the CPU time of the current thread, which serves only this connection.
    fn note_work(&self) {
        let worked = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .expect("cannot read the CPU clock of the thread");
        let worked = Duration::from(worked).as_nanos();
        let worked = u64::try_from(worked).expect("the CPU time fits into 64 bits");
        self.worked.fetch_add(worked, Ordering::SeqCst);
    }
}

/// Signals the end of a server to handlers that hang on purpose.
#[derive(Default)]
pub struct End {
    come: Mutex<bool>,
    changed: Condvar,
}

impl End {
    /// Sleeps for up to `limit`. Returns false if the server ends meanwhile.
    pub fn sleep(&self, limit: Duration) -> bool {
        let (come, _) = self
            .changed
            .wait_timeout_while(lock(&self.come), limit, |come| !*come)
            .unwrap_or_else(PoisonError::into_inner);
        !*come
    }

    /// Ends the server: all sleeping handlers wake up.
    pub fn come(&self) {
        *lock(&self.come) = true;
        self.changed.notify_all();
    }
}

/// Locks a mutex and ignores poisoning by a test that panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
