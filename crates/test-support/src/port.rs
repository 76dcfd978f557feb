//! TCP ports that no two tests use at the same time.
//!
//! To bind port 0 and close the socket again would be a race: another test or an outgoing
//! connection may take the port before the server binds it. A port is therefore taken from below
//! the range of outgoing connections and locked by an abstract unix socket with its number in the
//! name. Like ports, these names belong to the network namespace, and the kernel releases them
//! when the process ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST_PORT: u16 = 15_000;
const PORT_COUNT: u16 = 15_000;

/// A port on 127.0.0.1. It is reserved until this value is dropped.
pub struct Port {
    number: u16,
    _lock: UnixListener,
}

impl Port {
    /// Reserves a port on which no server listens.
    pub fn reserve() -> Self {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        // Each process starts elsewhere in the range, which makes conflicts rare.
        let start = std::process::id().wrapping_mul(997);
        for _ in 0..PORT_COUNT {
            let step = TRIED.fetch_add(1, Ordering::Relaxed);
            let offset = start.wrapping_add(u32::from(step)) % u32::from(PORT_COUNT);
            let number =
                FIRST_PORT + u16::try_from(offset).expect("the offset is below PORT_COUNT");
            let name = SocketAddr::from_abstract_name(format!("sso-test-port-{number}"))
                .expect("the name of the lock is too long");
            let Ok(lock) = UnixListener::bind_addr(&name) else {
                continue;
            };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no free port on 127.0.0.1 from {FIRST_PORT} on");
    }

    /// Returns the port number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns whether a server listens on the port. It looks in /proc/net/tcp, because the server
    /// would treat a connection as a client.
    pub fn listened(&self) -> bool {
        let local = format!(":{:04X}", self.number);
        fs::read_to_string("/proc/net/tcp")
            .expect("cannot read /proc/net/tcp")
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|fields| {
                fields.get(1).is_some_and(|field| field.ends_with(&local))
                    && fields.get(3) == Some(&"0A")
            })
    }
}
