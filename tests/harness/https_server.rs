//! A server of threads: one accepts, each connection has one, and all are gone when it is dropped.

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

/// How long a connection may stay silent.
const IDLE: Duration = Duration::from_secs(60);

/// One direction after the other of a connection, with or without TLS.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// What a server does with a connection. The TLS handshake happens with the first read.
pub type Handler = dyn Fn(&mut dyn Stream, &End) + Send + Sync;

/// A listening server.
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
    /// Nanoseconds of the processor, until the answers were given.
    worked: AtomicU64,
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl Server {
    /// Starts to listen on 127.0.0.1: https with an identity, http without.
    pub fn start(
        identity: Option<&Identity>,
        handler: impl Fn(&mut dyn Stream, &End) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), identity, handler)
    }

    /// The same on this address of the host, and on no other.
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

    /// `https://localhost:PORT`, or `http://…`.
    pub fn origin(&self) -> String {
        let scheme = match self.shared.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://localhost:{}", self.port.number())
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// For how long it has used the processor so far, to answer the connections that are over.
    pub fn worked(&self) -> Duration {
        wait_until(PATIENCE, || lock(&self.shared.open).is_empty());
        Duration::from_nanos(self.shared.worked.load(Ordering::SeqCst))
    }

    /// Closes the listening socket: from now on the kernel refuses connections.
    pub fn refuse(&mut self) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        *lock(&self.shared.refusing) = true;
        // Only a connection wakes a thread that waits in accept().
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
        // A program that another test is just starting may still hold the socket by which the
        // port was found to be free.
        wait_until(PATIENCE, || {
            if listener.is_err() {
                listener = bind();
            }
            listener.is_ok()
        });
        let listener = listener.expect("listening on the reserved port");
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
        let _ = stream.set_read_timeout(Some(IDLE));
        let _ = stream.set_write_timeout(Some(IDLE));
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
                // A flush would do the handshake that the handler did not want.
                if !stream.conn.is_handshaking() {
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                }
            }
        }
    }

    /// The thread of a connection is new with it.
    fn note_work(&self) {
        let worked = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a thread's clock");
        let worked = Duration::from(worked).as_nanos();
        let worked = u64::try_from(worked).expect("less than centuries");
        self.worked.fetch_add(worked, Ordering::SeqCst);
    }
}

/// The end of a server, for which a handler that hangs on purpose waits.
#[derive(Default)]
pub struct End {
    come: Mutex<bool>,
    changed: Condvar,
}

impl End {
    /// Sleeps for `limit` at most; false when the server ends.
    pub fn sleep(&self, limit: Duration) -> bool {
        let (come, _) = self
            .changed
            .wait_timeout_while(lock(&self.come), limit, |come| !*come)
            .unwrap_or_else(PoisonError::into_inner);
        !*come
    }

    /// It has come: nobody sleeps any more.
    pub fn come(&self) {
        *lock(&self.come) = true;
        self.changed.notify_all();
    }
}

/// Locks, whether or not another test has panicked meanwhile.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
