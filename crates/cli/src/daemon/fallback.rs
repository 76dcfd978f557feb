//! The host's own saslauthd, which checks ordinary passwords. It receives requests unchanged, and
//! its answers are returned unchanged.
//!
//! Because it receives passwords, each connection is checked before a byte is sent: only root, the
//! user of the daemon and that of the saslauthd can replace the socket, and root or the user of the
//! saslauthd listens on it.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Uid;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::socket_io::write_all;
use sso_core::error::{Failure, Reason};
use sso_core::platform::file_permissions;
use sso_core::protocol::saslauthd;

/// How long saslauthd may take to answer: longer than PAM takes with a slow directory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(55);

/// The maximum length of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4_096;

/// The uid that the kernel reports for users that do not exist in a user namespace.
const OVERFLOW_UID: u32 = 65_534;

/// A saslauthd that checks ordinary passwords.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// `sso_fallback_socket`.
    pub path: PathBuf,
    /// `sso_fallback_user`: the user besides root who may listen on the socket.
    pub user: Uid,
}

impl Fallback {
    /// Requires that only root, the user of the daemon, if known, and the user who may listen can
    /// replace the socket.
    ///
    /// # Errors
    /// The problem, a semicolon, and the remedy.
    pub(crate) fn check_path_to(&self, daemon: Option<Uid>) -> Result<(), String> {
        let owners = daemon.map(|daemon| [daemon, self.user]);
        file_permissions::check_path_to(&self.path, owners.as_ref().map(|owners| &owners[..]))
    }

    /// Requires that root or the configured user listens at the other end of `stream`.
    ///
    /// # Errors
    /// The problem, a semicolon, and the remedy.
    pub(crate) fn check_peer(&self, stream: &impl AsFd) -> Result<(), String> {
        let path = self.path.display();
        let peer = getsockopt(stream, PeerCredentials)
            .map_err(|error| format!("{path}: it is not known who listens: {error}; run one"))?;
        let uid = Uid::from_raw(peer.uid());
        if uid.is_root() || uid == self.user && peer.uid() != OVERFLOW_UID {
            return Ok(());
        }
        if peer.uid() == OVERFLOW_UID {
            return Err(format!(
                "{path}: who listens there is neither root nor known in the user namespace of the \
                 daemon; run saslauthd as root, or set PrivateUsers=identity, or no, for the unit"
            ));
        }
        Err(format!(
            "{path}: uid {uid} listens there, which is neither root nor sso_fallback_user; stop \
             that one, or set sso_fallback_user to the user of saslauthd"
        ))
    }
}

/// Returns the answer of saslauthd to `request`. `pollers` limits how many requests poll the queue
/// of this saslauthd.
///
/// # Errors
/// [`Reason::FallbackUnusable`], with the remedy.
pub(crate) async fn ask(
    fallback: &Fallback,
    pollers: &Semaphore,
    request: &[u8],
) -> Result<Vec<u8>, Failure> {
    let path = &fallback.path;
    let unusable = |what: &dyn std::fmt::Display, remedy: &str| {
        let what = format!("{}: {what}; {remedy}", path.display());
        Failure::new(Reason::FallbackUnusable, what)
    };
    let talk = async {
        let stream = connect(path, pollers).await?;
        let trusted = fallback
            .check_path_to(Some(Uid::effective()))
            .and_then(|()| fallback.check_peer(&stream));
        if let Err(what) = trusted {
            return Ok(Err(Failure::new(Reason::FallbackUnusable, what)));
        }
        write_all(&stream, request).await?;
        read(&stream).await.map(Ok)
    };
    match timeout(ANSWER_TIMEOUT, talk).await {
        Ok(Ok(answer)) => answer,
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

/// The maximum number of requests that poll for room in the queue of one saslauthd.
pub(crate) const MAX_POLLERS: usize = 16;

/// Connects to the socket. It polls if the queue is full, because the kernel does not tell when
/// there is room.
async fn connect(path: &Path, pollers: &Semaphore) -> io::Result<UnixStream> {
    let _poller = pollers.acquire().await;
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
        match saslauthd::is_complete(&answer) {
            Ok(true) => return Ok(answer),
            Ok(false) if answer.len() < MAX_ANSWER_BYTES => {}
            _ => return Err(wrong("what it answers is no answer of saslauthd's")),
        }
    }
}
