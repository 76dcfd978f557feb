//! The host's own saslauthd, for ordinary passwords: it gets the request as it
//! came, and what it says goes back as it is.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::stream::write_all;
use crate::outcome::{Failure, Reason};
use crate::wire::saslauthd;

/// How long it may take: longer than PAM takes with a directory that is slow.
const PATIENCE: Duration = Duration::from_secs(55);

/// The longest answer taken, in bytes.
const LONGEST: usize = 4_096;

/// What the saslauthd at `path` answers to `request`.
///
/// # Errors
/// [`Reason::FallbackUnusable`], with the remedy.
pub(super) async fn ask(path: &Path, request: &[u8]) -> Result<Vec<u8>, Failure> {
    let unusable = |what: &dyn std::fmt::Display, remedy: &str| {
        let what = format!("{}: {what}; {remedy}", path.display());
        Failure::new(Reason::FallbackUnusable, what)
    };
    let talk = async {
        let stream = connect(path).await?;
        write_all(&stream, request).await?;
        read(&stream).await
    };
    match timeout(PATIENCE, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(unusable(
            &error,
            "have us in the group that may use it, such as sasl",
        )),
        Ok(Err(error)) => Err(unusable(&error, "look whether saslauthd runs there")),
        Err(_) => Err(unusable(
            &"no answer within 55 seconds",
            "look what saslauthd waits for",
        )),
    }
}

/// How many ask at once whether there is room in its queue.
static ASKING: Semaphore = Semaphore::const_new(16);

/// The kernel does not say when there is room again in a queue that is full.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let _asking = ASKING.acquire().await;
    let mut pause = Duration::from_millis(1);
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            answer => return answer,
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

async fn read(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut answer = Vec::new();
    let mut piece = [0; 1_024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(wrong("it ended without a whole answer")),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match saslauthd::is_whole(&answer) {
            Ok(true) => return Ok(answer),
            Ok(false) if answer.len() < LONGEST => {}
            _ => return Err(wrong("what it answers is no answer of saslauthd's")),
        }
    }
}
