//! One connection: one request and one answer, and a bound on what it may take of
//! time and memory, whatever comes.

#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::responder::Desk;
use super::socket_io::write_all;
use sso_core::error::{Failure, Reason};
use sso_core::protocol::saslauthd;
use sso_core::protocol::saslauthd::MAX_REQUEST_BYTES;

/// How long a client may take to send its request, and to take its answer: it is
/// on this machine, and sends it in one piece.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a request usually needs, in bytes; only who sends more gets more.
pub(crate) const USUAL_REQUEST: usize = 1_024;
const _: () = assert!(USUAL_REQUEST < MAX_REQUEST_BYTES);

/// A request of which some has come.
pub(crate) struct Begun {
    /// Of a fixed size: what a vector outgrows is not wiped.
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl Begun {
    pub(crate) fn new(come: &[u8]) -> Self {
        let mut bytes = Zeroizing::new(vec![0; USUAL_REQUEST]);
        bytes[..come.len()].copy_from_slice(come);
        Self {
            bytes,
            filled: come.len(),
        }
    }

    /// The whole request, or `None` if there must be more to come.
    fn whole(&self) -> Result<Option<&[u8]>, Failure> {
        let come = &self.bytes[..self.filled];
        Ok(saslauthd::Request::parse(come)?.map(|_| come))
    }

    /// Room for more.
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            let mut larger = Zeroizing::new(vec![0; MAX_REQUEST_BYTES]);
            larger[..self.filled].copy_from_slice(&self.bytes);
            self.bytes = larger;
        }
        &mut self.bytes[self.filled..]
    }
}

/// Reads on, answers, and ends.
pub(crate) async fn serve(stream: UnixStream, mut begun: Begun, desk: &Desk) {
    let start = Instant::now();
    let answer = match timeout(PATIENCE, read(&stream, &mut begun)).await {
        Ok(Ok(Some(request))) => desk.answer(request).await,
        // It has gone, or only looked whether somebody is there.
        Ok(Ok(None)) => return,
        Ok(Err(failure)) => desk.refuse(None, &failure, start),
        Err(_) => {
            let what = "the client did not send a whole request within 5 seconds";
            desk.refuse(None, &Failure::new(Reason::MessageMalformed, what), start)
        }
    };
    let _ = timeout(PATIENCE, write_all(&stream, &answer.text)).await;
    drop((stream, begun));
    if let Some(deferred_write) = answer.deferred_write {
        desk.write(deferred_write).await;
    }
}

/// Reads on until the request is whole; `None` if the client leaves before that.
async fn read<'b>(stream: &UnixStream, begun: &'b mut Begun) -> Result<Option<&'b [u8]>, Failure> {
    while begun.whole()?.is_none() {
        if stream.readable().await.is_err() {
            return Ok(None);
        }
        match stream.try_read(begun.room()) {
            Ok(0) => return Ok(None),
            Ok(length) => begun.filled += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(None),
        }
    }
    begun.whole()
}
