//! Where requests come from: a socket of our own making, or those that systemd
//! hands over.

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

/// Where the daemon serves.
pub enum Place {
    /// At sockets that are there already, systemd's.
    Given(Vec<UnixListener>),
    /// At one that is to be made.
    Made {
        /// Its path.
        path: PathBuf,
        /// Who may connect to it: the mode of the socket.
        mode: u32,
        /// Its group, if not our own.
        group: Option<Gid>,
    },
}

/// The sockets, as long as this lives.
pub(crate) struct Sockets {
    listeners: Vec<UnixListener>,
    made: Option<Made>,
}

/// A socket of our own: it is taken away at the end.
struct Made {
    path: PathBuf,
    identity: (u64, u64),
    _lock: Flock<File>,
}

impl Place {
    /// The sockets that systemd has handed over, if it has.
    ///
    /// # Errors
    /// If one is no listening stream socket of the file system.
    pub fn given() -> Result<Option<Self>, String> {
        let mut given = ListenFd::from_env();
        let mut listeners = Vec::new();
        for number in 0..given.len() {
            let listener = given.take_unix_listener(number);
            let wrong = |error| format!("socket {number} of systemd: {error}; use ListenStream=");
            let listener = listener.map_err(wrong)?;
            if let Some(listener) = &listener
                && !getsockopt(listener, AcceptConn).unwrap_or_default()
            {
                return Err(format!("socket {number} of systemd: say Accept=no"));
            }
            listeners.extend(listener);
        }
        Ok((!listeners.is_empty()).then_some(Self::Given(listeners)))
    }

    pub(crate) fn open(&self) -> Result<Sockets, String> {
        match self {
            Self::Given(given) => {
                let copies = given.iter().map(UnixListener::try_clone);
                let listeners = copies.collect::<io::Result<_>>();
                Ok(Sockets {
                    listeners: listeners.map_err(|error| error.to_string())?,
                    made: None,
                })
            }
            Self::Made { path, mode, group } => {
                let (listener, made) = make(path, *mode, *group)?;
                Ok(Sockets {
                    listeners: vec![listener],
                    made: Some(made),
                })
            }
        }
    }
}

impl Sockets {
    /// By which paths they are known.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let address = |listener: &UnixListener| listener.local_addr().ok();
        let addresses = self.listeners.iter().filter_map(address);
        let found = addresses.filter_map(|address| Some(address.as_pathname()?.to_owned()));
        // Ours was made beside its place.
        found
            .chain(self.made.iter().map(|made| made.path.clone()))
            .collect()
    }

    /// The sockets, for those who take connections: none of them waits in accept.
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

/// A path with something behind it.
fn and(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    PathBuf::from(name)
}

/// Makes the socket beside its place and moves it there: nobody finds it before it
/// has its rights, and whoever looks finds the old one or the new one.
fn make(path: &Path, mode: u32, group: Option<Gid>) -> Result<(UnixListener, Made), String> {
    let trouble = |problem: &dyn std::fmt::Display, remedy: &str| {
        Err(format!("{}: {problem}; {remedy}", path.display()))
    };
    let lock = match lock(&and(path, ".lock")) {
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
    let beside = and(path, ".new");
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
            let made = Made {
                path: path.to_owned(),
                identity,
                _lock: lock,
            };
            Ok((listener, made))
        }
        Err(error) => trouble(
            &error,
            "make its directory, writable for us, and have us in the group of --group",
        ),
    }
}

/// Whether somebody listens there; also one whose queue is full.
fn is_served(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(probe) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return false;
    };
    let connected = UnixAddr::new(path).and_then(|there| connect(probe.as_raw_fd(), &there));
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

/// The right to serve, which ends with the process: the kernel frees it.
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

impl Drop for Made {
    fn drop(&mut self) {
        // Not one that somebody has put in its place since.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn place(path: &Path) -> Place {
        Place::Made {
            path: path.to_owned(),
            mode: 0o660,
            group: None,
        }
    }

    #[test]
    fn one_daemon_at_a_time_and_its_socket_goes_with_it() {
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
    fn what_a_dead_one_left_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mux");
        let other = UnixListener::bind(&path).unwrap();
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("somebody else"), "{refusal}");
        drop(other);
        let sockets = place(&path).open().unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        // A socket that another one puts in its place is not ours to remove.
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
    fn without_a_directory_the_remedy_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing").join("mux");
        let refusal = place(&path).open().err().unwrap();
        assert!(refusal.contains("make its directory"), "{refusal}");
    }
}
