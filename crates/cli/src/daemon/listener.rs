//! Accepts connections. One thread for each socket accepts them, and answers at once if the request
//! has arrived and is a cache hit, as most logins are. All other connections go to the event loop.

#![forbid(unsafe_code)]

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll, ppoll};
use nix::sys::resource::rlim_t;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::time::TimeSpec;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::{Zeroize, Zeroizing};

use super::connection::{FIRST_BUFFER_BYTES, PartialRequest, serve};
use super::responder::RequestHandler;
use sso_core::error::{Failure, Reason};

/// The maximum number of connections that wait. Each may use 16 KiB for the longest request.
const MAX_CONNECTIONS: usize = 4_096;

/// The number of descriptors for that: each connection may have one to saslauthd.
pub(crate) const MAX_DESCRIPTORS: rlim_t = 2 * MAX_CONNECTIONS as rlim_t + 512;

/// How long the thread waits for the request of a new connection before it passes the connection
/// on.
const REQUEST_WAIT: TimeSpec = TimeSpec::from_duration(Duration::from_micros(200));

/// Accepts connections.
pub(crate) struct Listener {
    handler: Arc<RequestHandler>,
    places: Arc<Semaphore>,
    waiting: Handle,
    is_closed: AtomicBool,
}

impl Listener {
    /// Creates a listener whose connections wait in the event loop of this runtime.
    pub(crate) fn new(handler: Arc<RequestHandler>, waiting: Handle) -> Self {
        Self {
            handler,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            waiting,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Accepts connections in a thread, until the listener is closed and the other end of `end`
    /// too.
    pub(crate) fn open(
        self: &Arc<Self>,
        listener: UnixListener,
        end: PipeReader,
    ) -> io::Result<JoinHandle<()>> {
        let door = Arc::clone(self);
        thread::Builder::new()
            .name("sasl-sso door".to_owned())
            .spawn(move || door.take_all(&listener, &end))
    }

    fn take_all(&self, listener: &UnixListener, end: &PipeReader) {
        let mut usual = Zeroizing::new([0; FIRST_BUFFER_BYTES]);
        while !self.is_closed.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    // The location of a panic is in the log already.
                    let _ =
                        catch_unwind(AssertUnwindSafe(|| self.take(stream, &mut usual, listener)));
                    usual.zeroize();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    await_connection(listener, end);
                }
                Err(error) => {
                    self.handler.log_accept_error(&error);
                    // There is no free descriptor; one will be free soon.
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn take(
        &self,
        stream: StdStream,
        usual: &mut [u8; FIRST_BUFFER_BYTES],
        listener: &UnixListener,
    ) {
        let mut receive = || recv(stream.as_raw_fd(), usual, MsgFlags::MSG_DONTWAIT);
        let received = receive().or_else(|_| {
            await_request(&stream, listener);
            receive()
        });
        let come = match received {
            // The client has left, or has only checked whether the daemon runs.
            Ok(0) => return,
            Ok(length) => &usual[..length],
            Err(Errno::EAGAIN | Errno::EINTR) => &[],
            Err(_) => return,
        };
        if let Some(answer) = self.handler.try_answer(come) {
            write_answer(&stream, &answer.text);
            drop(stream);
            if let (Some(deferred_write), Some(place)) = (answer.deferred_write, self.place()) {
                let handler = Arc::clone(&self.handler);
                self.waiting.spawn(async move {
                    handler.write(deferred_write).await;
                    drop(place);
                });
            }
            return;
        }
        let Some(place) = self.place() else {
            let what = "there are 4096 connections already";
            let failure = Failure::new(Reason::Busy, what);
            let answer = self.handler.refuse(None, &failure, Instant::now());
            return write_answer(&stream, &answer.text);
        };
        let request = PartialRequest::new(come);
        let handler = Arc::clone(&self.handler);
        self.waiting.spawn(async move {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| UnixStream::from_std(stream));
            match stream {
                Ok(stream) => serve(stream, request, &handler).await,
                Err(error) => handler.log_accept_error(&error),
            }
            drop(place);
        });
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Tells the threads to stop accepting, once they are woken.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Waits until no connection waits any more.
    pub(crate) async fn drained(&self) {
        let _ = self.places.acquire_many(MAX_CONNECTIONS as u32).await;
    }
}

/// Waits for a connection, or for the end.
fn await_connection(listener: &UnixListener, end: &PipeReader) {
    let mut wanted = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(end.as_fd(), PollFlags::POLLIN),
    ];
    // After an interruption, it is called again.
    let _ = poll(&mut wanted, PollTimeout::NONE);
}

/// Waits a moment for the request of a new connection, unless other connections arrive: passing the
/// connection on would cost more.
fn await_request(stream: &StdStream, listener: &UnixListener) {
    let mut wanted = [
        PollFd::new(stream.as_fd(), PollFlags::POLLIN),
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
    ];
    let _ = ppoll(&mut wanted, Some(REQUEST_WAIT), None);
}

/// Writes a short answer. There is room for it unless the client has left.
fn write_answer(stream: &StdStream, answer: &[u8]) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(stream.as_raw_fd(), answer, flags);
}
