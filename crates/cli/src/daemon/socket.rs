//! The daemon's sockets: one that it creates itself, or those that systemd passes.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::socket::sockopt::AcceptConn;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::unistd::{Gid, chown};

/// Where the daemon listens.
pub enum BindTarget {
    /// Sockets that exist already, from systemd.
    Systemd(Vec<UnixListener>),
    /// A socket to be created.
    Create {
        /// The path of the socket.
        path: PathBuf,
        /// The mode of the socket, which decides who may connect.
        mode: u32,
        /// The group of the socket, if not the process's own.
        group: Option<Gid>,
    },
}

/// The sockets of the daemon, for as long as this value lives.
pub(crate) struct Sockets {
    listeners: Vec<UnixListener>,
    created: Option<CreatedSocket>,
}

/// A socket that the daemon has created, and removes at the end.
struct CreatedSocket {
    path: PathBuf,
    identity: (u64, u64),
    _lock: Flock<File>,
}

impl BindTarget {
    /// The sockets that systemd has passed, if any.
    ///
    /// # Errors
    /// A socket is no listening stream socket in the file system.
    pub fn from_systemd() -> Result<Option<Self>, String> {
        let mut passed = ListenFd::from_env();
        let mut listeners = Vec::new();
        for number in 0..passed.len() {
            let listener = passed.take_unix_listener(number);
            let wrong = |error| format!("socket {number} of systemd: {error}; use ListenStream=");
            let listener = listener.map_err(wrong)?;
            if let Some(listener) = &listener
                && !getsockopt(listener, AcceptConn).unwrap_or_default()
            {
                return Err(format!("socket {number} of systemd: say Accept=no"));
            }
            listeners.extend(listener);
        }
        Ok((!listeners.is_empty()).then_some(Self::Systemd(listeners)))
    }

    pub(crate) fn open(&self) -> Result<Sockets, String> {
        match self {
            Self::Systemd(passed) => {
                let copies = passed.iter().map(UnixListener::try_clone);
                let listeners = copies.collect::<io::Result<_>>();
                Ok(Sockets {
                    listeners: listeners.map_err(|error| error.to_string())?,
                    created: None,
                })
            }
            Self::Create { path, mode, group } => {
                let (listener, created) = make(path, *mode, *group)?;
                Ok(Sockets {
                    listeners: vec![listener],
                    created: Some(created),
                })
            }
        }
    }
}

impl Sockets {
    /// The paths of the sockets.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let address = |listener: &UnixListener| listener.local_addr().ok();
        let addresses = self.listeners.iter().filter_map(address);
        let found = addresses.filter_map(|address| Some(address.as_pathname()?.to_owned()));
        // The daemon's own socket was created beside its path.
        found
            .chain(self.created.iter().map(|created| created.path.clone()))
            .collect()
    }

    /// The sockets for the threads that accept connections. They are non-blocking.
    pub(crate) fn listeners(&self) -> Result<Vec<UnixListener>, String> {
        let listener = |listener: &UnixListener| {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners = self.listeners.iter().map(listener);
        let listeners = listeners.collect::<io::Result<_>>();
        listeners.map_err(|error| format!("a socket cannot be served: {error}"))
    }
}

/// Appends text to a path.
fn with_suffix(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    PathBuf::from(name)
}

/// Creates the socket beside its path and renames it: nobody sees it before it has its mode, and
/// everybody sees either the old one or the new one.
fn make(
    path: &Path,
    mode: u32,
    group: Option<Gid>,
) -> Result<(UnixListener, CreatedSocket), String> {
    let trouble = |problem: &dyn std::fmt::Display, remedy: &str| {
        Err(format!("{}: {problem}; {remedy}", path.display()))
    };
    let lock = match lock(&with_suffix(path, ".lock")) {
        Ok(Some(lock)) => lock,
        Ok(None) => return trouble(&"is served by another sasl-sso", "end that one first"),
        Err(error) => {
            return trouble(
                &format!("its lock beside it: {error}"),
                "make its directory, writable for us",
            );
        }
    };
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return trouble(&"is no socket", "remove it, or choose another path");
        }
        Ok(_) if is_served(path) => {
            return trouble(&"is served by somebody else", "end that one first");
        }
        _ => {}
    }
    let beside = with_suffix(path, ".new");
    let make = || -> io::Result<_> {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, Permissions::from_mode(mode))?;
        if group.is_some() {
            chown(&beside, None, group)?;
        }
        fs::rename(&beside, path)?;
        Ok((listener, identity(path)?))
    };
    match make() {
        Ok((listener, identity)) => {
            let created = CreatedSocket {
                path: path.to_owned(),
                identity,
                _lock: lock,
            };
            Ok((listener, created))
        }
        Err(error) => trouble(
            &error,
            "make its directory, writable for us, and have us in the group of --group",
        ),
    }
}

/// Whether a process listens at the path, even if its queue is full.
fn is_served(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(probe) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return false;
    };
    let connected = UnixAddr::new(path).and_then(|there| connect(probe.as_raw_fd(), &there));
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

/// The lock of the running daemon, which ends with the process.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for CreatedSocket {
    fn drop(&mut self) {
        // Another process may have replaced the socket.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn place(path: &Path) -> BindTarget {
        BindTarget::Create {
            path: path.to_owned(),
            mode: 0o660,
            group: None,
        }
    }

    #[test]
    fn second_daemon_is_rejected_and_the_socket_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mux");
        let sockets = place(&path).open().unwrap();
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o660);
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("another sasl-sso"), "{refusal}");
        assert!(UnixStream::connect(&path).is_ok());
        drop(sockets);
        assert!(!path.exists());
        place(&path).open().unwrap();
    }

    #[test]
    fn socket_of_a_dead_daemon_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mux");
        let other = UnixListener::bind(&path).unwrap();
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("somebody else"), "{refusal}");
        drop(other);
        let sockets = place(&path).open().unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // A socket that another process has put there is not removed.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(sockets);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("is no socket"), "{refusal}");
    }

    #[test]
    fn missing_directory_is_an_error_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("mux");
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("make its directory"), "{refusal}");
    }
}
