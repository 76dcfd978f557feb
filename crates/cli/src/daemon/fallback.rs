//! The host's own saslauthd, for ordinary passwords: it gets the request as it
//! came, and what it says goes back as it is.
//!
//! It gets passwords, so each connection is checked before a byte is sent: nobody but
//! root, the user of the daemon and that of the saslauthd can replace the socket, and
//! root or the user of the saslauthd listens at it.

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

/// How long it may take: longer than PAM takes with a directory that is slow.
const PATIENCE: Duration = Duration::from_secs(55);

/// The longest answer taken, in bytes.
const LONGEST: usize = 4_096;

/// What the kernel says for any user that a user namespace does not have.
const OVERFLOW_UID: u32 = 65_534;

/// A saslauthd that checks ordinary passwords.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// `sso_fallback_socket`.
    pub path: PathBuf,
    /// `sso_fallback_user`: who may listen there besides root.
    pub user: Uid,
}

impl Fallback {
    /// Makes sure that nobody can replace the socket but root, the user of the daemon, if
    /// it is known, and the user who may listen at it.
    ///
    /// # Errors
    /// The problem, and behind the last semicolon the remedy.
    pub(crate) fn check_path_to(&self, daemon: Option<Uid>) -> Result<(), String> {
        let owners = daemon.map(|daemon| [daemon, self.user]);
        file_permissions::check_path_to(&self.path, owners.as_ref().map(|owners| &owners[..]))
    }

    /// Makes sure that root, or the user who may, listens at the other end of `stream`.
    ///
    /// # Errors
    /// The problem, and behind the last semicolon the remedy.
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

/// What the saslauthd answers to `request`.
///
/// # Errors
/// [`Reason::FallbackUnusable`], with the remedy.
pub(crate) async fn ask(fallback: &Fallback, request: &[u8]) -> Result<Vec<u8>, Failure> {
    let path = &fallback.path;
    let unusable = |what: &dyn std::fmt::Display, remedy: &str| {
        let what = format!("{}: {what}; {remedy}", path.display());
        Failure::new(Reason::FallbackUnusable, what)
    };
    let talk = async {
        let stream = connect(path).await?;
        let trusted = fallback
            .check_path_to(Some(Uid::effective()))
            .and_then(|()| fallback.check_peer(&stream));
        if let Err(what) = trusted {
            return Ok(Err(Failure::new(Reason::FallbackUnusable, what)));
        }
        write_all(&stream, request).await?;
        read(&stream).await.map(Ok)
    };
    match timeout(PATIENCE, talk).await {
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
        match saslauthd::is_complete(&answer) {
            Ok(true) => return Ok(answer),
            Ok(false) if answer.len() < LONGEST => {}
            _ => return Err(wrong("what it answers is no answer of saslauthd's")),
        }
    }
}
