//! One connection: one request and one response, within limits of time and memory.

#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::responder::RequestHandler;
use super::socket_io::write_all;
use sso_core::error::{Failure, Reason};
use sso_core::protocol::saslauthd;
use sso_core::protocol::saslauthd::MAX_REQUEST_BYTES;

/// How long a client may take to send its request or to receive the response. The client is on this
/// host and sends the request in one piece.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of the first buffer for a request, in bytes. Larger requests get a larger buffer.
pub(crate) const FIRST_BUFFER_BYTES: usize = 1_024;
const _: () = assert!(FIRST_BUFFER_BYTES < MAX_REQUEST_BYTES);

/// A request of which a part has arrived.
pub(crate) struct PartialRequest {
    /// The buffer has a fixed size: the old buffer of a vector that grows would not be overwritten.
    bytes: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl PartialRequest {
    pub(crate) fn new(come: &[u8]) -> Self {
        let mut bytes = Zeroizing::new(vec![0; FIRST_BUFFER_BYTES]);
        bytes[..come.len()].copy_from_slice(come);
        Self {
            bytes,
            filled: come.len(),
        }
    }

    /// The complete request, or `None` if a part is missing.
    fn complete(&self) -> Result<Option<&[u8]>, Failure> {
        let come = &self.bytes[..self.filled];
        Ok(saslauthd::Request::parse(come)?.map(|_| come))
    }

    /// The free part of the buffer.
    fn room(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            let mut larger = Zeroizing::new(vec![0; MAX_REQUEST_BYTES]);
            larger[..self.filled].copy_from_slice(&self.bytes);
            self.bytes = larger;
        }
        &mut self.bytes[self.filled..]
    }
}

/// Reads the rest of the request, responds, and performs the deferred write.
pub(crate) async fn serve(
    stream: UnixStream,
    mut request: PartialRequest,
    handler: &RequestHandler,
) {
    let start = Instant::now();
    let answer = match timeout(CLIENT_TIMEOUT, read(&stream, &mut request)).await {
        Ok(Ok(Some(request))) => handler.answer(request).await,
        // The client has left, or has only checked whether the daemon runs.
        Ok(Ok(None)) => return,
        Ok(Err(failure)) => handler.refuse(None, &failure, start),
        Err(_) => {
            let what = "the client did not send a whole request within 5 seconds";
            handler.refuse(None, &Failure::new(Reason::MessageMalformed, what), start)
        }
    };
    let _ = timeout(CLIENT_TIMEOUT, write_all(&stream, &answer.text)).await;
    drop((stream, request));
    if let Some(deferred_write) = answer.deferred_write {
        handler.write(deferred_write).await;
    }
}

/// Reads until the request is complete; `None` if the client leaves before that.
async fn read<'b>(
    stream: &UnixStream,
    request: &'b mut PartialRequest,
) -> Result<Option<&'b [u8]>, Failure> {
    while request.complete()?.is_none() {
        if stream.readable().await.is_err() {
            return Ok(None);
        }
        match stream.try_read(request.room()) {
            Ok(0) => return Ok(None),
            Ok(length) => request.filled += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ok(None),
        }
    }
    request.complete()
}
