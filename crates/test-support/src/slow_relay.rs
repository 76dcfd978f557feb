//! A TCP relay before a server, which keeps each connection waiting before it goes on.

use super::https_server::lock;
use super::port::Port;
use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running relay on 127.0.0.1.
pub struct SlowRelay {
    port: Port,
    delay: Arc<Mutex<Duration>>,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl SlowRelay {
    /// Starts to listen for what goes on to this port after `delay`.
    pub fn start(behind: u16, delay: Duration) -> Self {
        let port = Port::reserve();
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).expect("a reserved port");
        let ended = Arc::new(AtomicBool::new(false));
        let delay = Arc::new(Mutex::new(delay));
        let (is_over, current) = (Arc::clone(&ended), Arc::clone(&delay));
        let acceptor = thread::spawn(move || {
            for client in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let delay = *lock(&current);
                // Who has gone meanwhile, or finds nobody, needs nothing more.
                thread::spawn(move || client.and_then(|client| pass_on(&client, behind, delay)));
            }
        });
        Self {
            port,
            delay,
            ended,
            acceptor: Some(acceptor),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How long connections wait from now on.
    pub fn set_delay(&self, delay: Duration) {
        *lock(&self.delay) = delay;
    }
}

fn pass_on(client: &TcpStream, behind: u16, delay: Duration) -> std::io::Result<()> {
    thread::sleep(delay);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = copy(&mut &server, &mut &*client);
        let _ = client.shutdown(Shutdown::Both);
    });
    Ok(())
}

impl Drop for SlowRelay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}
