//! Where connections come in. One thread for each socket takes them, and answers at
//! once what is there already and known; that is all that most logins need. What
//! must wait for anything goes to the event loop.

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

use super::connection::{Begun, USUAL_REQUEST, serve};
use super::responder::Desk;
use sso_core::error::{Failure, Reason};

/// How many connections there may be that wait for something. Each may take the
/// longest request's 16 KiB.
const CONNECTIONS: usize = 4_096;

/// How many descriptors that takes at most: each may be passed on.
pub(crate) const DESCRIPTORS: rlim_t = 2 * CONNECTIONS as rlim_t + 512;

/// How long a connection is waited for before it is handed over.
const MOMENT: TimeSpec = TimeSpec::from_duration(Duration::from_micros(200));

/// Where connections come in.
pub(crate) struct Door {
    desk: Arc<Desk>,
    places: Arc<Semaphore>,
    waiting: Handle,
    is_closed: AtomicBool,
}

impl Door {
    /// A door whose connections wait, if they must, in the event loop of this
    /// runtime.
    pub(crate) fn new(desk: Arc<Desk>, waiting: Handle) -> Self {
        Self {
            desk,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            waiting,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes connections in a thread of its own, until the door is closed and with
    /// it the other end of `end`.
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
        let mut usual = Zeroizing::new([0; USUAL_REQUEST]);
        while !self.is_closed.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, _)) => {
                    // The log has the place of a panic already.
                    let _ =
                        catch_unwind(AssertUnwindSafe(|| self.take(stream, &mut usual, listener)));
                    usual.zeroize();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    await_connection(listener, end);
                }
                Err(error) => {
                    self.desk.complain_of_accepting(&error);
                    // No descriptor is left: some will be in a moment.
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn take(&self, stream: StdStream, usual: &mut [u8; USUAL_REQUEST], listener: &UnixListener) {
        let mut receive = || recv(stream.as_raw_fd(), usual, MsgFlags::MSG_DONTWAIT);
        let received = receive().or_else(|_| {
            await_request(&stream, listener);
            receive()
        });
        let come = match received {
            // It has gone, or only looked whether somebody is there.
            Ok(0) => return,
            Ok(length) => &usual[..length],
            Err(Errno::EAGAIN | Errno::EINTR) => &[],
            Err(_) => return,
        };
        if let Some(answer) = self.desk.answer_at_once(come) {
            say(&stream, &answer.text);
            drop(stream);
            if let (Some(deferred_write), Some(place)) = (answer.deferred_write, self.place()) {
                let desk = Arc::clone(&self.desk);
                self.waiting.spawn(async move {
                    desk.write(deferred_write).await;
                    drop(place);
                });
            }
            return;
        }
        let Some(place) = self.place() else {
            let what = "there are 4096 connections already";
            let failure = Failure::new(Reason::Busy, what);
            let answer = self.desk.refuse(None, &failure, Instant::now());
            return say(&stream, &answer.text);
        };
        let begun = Begun::new(come);
        let desk = Arc::clone(&self.desk);
        self.waiting.spawn(async move {
            let stream = stream
                .set_nonblocking(true)
                .and_then(|()| UnixStream::from_std(stream));
            match stream {
                Ok(stream) => serve(stream, begun, &desk).await,
                Err(error) => desk.complain_of_accepting(&error),
            }
            drop(place);
        });
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Has the threads take no connection any more, once they are woken.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Waits until no connection waits any more.
    pub(crate) async fn all_gone(&self) {
        let _ = self.places.acquire_many(CONNECTIONS as u32).await;
    }
}

/// Waits for a connection, or for the end.
fn await_connection(listener: &UnixListener, end: &PipeReader) {
    let mut wanted = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(end.as_fd(), PollFlags::POLLIN),
    ];
    // Interrupted, it is asked again.
    let _ = poll(&mut wanted, PollTimeout::NONE);
}

/// Gives a client that has just connected a moment to write its request, unless
/// others come meanwhile: it is at it, and to hand it over would cost more.
fn await_request(stream: &StdStream, listener: &UnixListener) {
    let mut wanted = [
        PollFd::new(stream.as_fd(), PollFlags::POLLIN),
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
    ];
    let _ = ppoll(&mut wanted, Some(MOMENT), None);
}

/// There is room for so little, unless the client has gone.
fn say(stream: &StdStream, answer: &[u8]) {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(stream.as_raw_fd(), answer, flags);
}
