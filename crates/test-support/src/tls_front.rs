//! A TLS-terminating reverse proxy for an http server.

use super::authority::Authority;
use super::http;
use super::https_server::{Server, Stream};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Starts a proxy for the http server on loopback port `behind`, which must close the connection
/// after each reply.
pub fn start(authority: &Authority, behind: u16) -> Server {
    let identity = authority.server_certificate();
    Server::start(Some(&identity), move |mut stream, _| {
        if forward(&mut stream, behind).is_err() {
            http::send(&mut stream, &http::reply(503, "text/plain", b""));
        }
    })
}

/// Forwards one request and copies the reply until the server closes the connection.
fn forward(stream: &mut dyn Stream, behind: u16) -> io::Result<()> {
    let mut stream = stream;
    let Some(request) = http::read_request(&mut stream) else {
        return Ok(());
    };
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind))?;
    server.write_all(request.head.as_bytes())?;
    // Reverse proxies send this header. phpCAS accepts a proxy-granting ticket only over https.
    server.write_all(b"\r\nX-Forwarded-Proto: https\r\n\r\n")?;
    server.write_all(&request.body)?;
    // The client notices a truncated reply; a client that closed the connection needs no reply.
    let _ = io::copy(&mut server, &mut stream);
    Ok(())
}
