//! TCP ports that no two tests get at the same time.
//!
//! Asking the kernel for a free port and letting go of it again is a race: another test, or any
//! outgoing connection, may take it before the server binds it. So a port is taken from below the
//! range of outgoing connections, and an abstract unix socket named after it is the lock: like
//! the ports themselves these names belong to the network namespace, and the kernel drops them
//! with the process, however that ends.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A port on 127.0.0.1, reserved until this is dropped.
pub struct Port {
    number: u16,
    _lock: UnixListener,
}

impl Port {
    /// Reserves a port on which nothing listens.
    pub fn reserve() -> Self {
        static TRIED: AtomicU16 = AtomicU16::new(0);
        // Processes start at different places, so that they rarely try the same port.
        let start = std::process::id().wrapping_mul(997);
        for _ in 0..COUNT {
            let step = TRIED.fetch_add(1, Ordering::Relaxed);
            let offset = start.wrapping_add(u32::from(step)) % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).expect("an offset below COUNT");
            let name = SocketAddr::from_abstract_name(format!("sso-test-port-{number}"))
                .expect("a short abstract name");
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
        panic!("no free port on 127.0.0.1 from {FIRST} on");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether a server listens on it by now. The kernel's table tells it without a connection,
    /// which the server would take for a client.
    pub fn listened(&self) -> bool {
        let local = format!(":{:04X}", self.number);
        fs::read_to_string("/proc/net/tcp")
            .expect("/proc/net/tcp")
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|fields| {
                fields.get(1).is_some_and(|field| field.ends_with(&local))
                    && fields.get(3) == Some(&"0A")
            })
    }
}
