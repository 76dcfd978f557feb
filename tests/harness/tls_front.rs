//! TLS before a server that has none.

use super::authority::Authority;
use super::http;
use super::https_server::{Server, Stream};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Starts it before a server on loopback that answers one request a connection.
pub fn start(authority: &Authority, behind: u16) -> Server {
    let identity = authority.server_certificate();
    Server::start(Some(&identity), move |mut stream, _| {
        if forward(&mut stream, behind).is_err() {
            http::send(&mut stream, &http::reply(503, "text/plain", b""));
        }
    })
}

/// The reply ends where the connection to the server does.
fn forward(stream: &mut dyn Stream, behind: u16) -> io::Result<()> {
    let mut stream = stream;
    let Some(request) = http::read_request(&mut stream) else {
        return Ok(());
    };
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind))?;
    server.write_all(request.head.as_bytes())?;
    // As fronts do: phpCAS takes no proxy granting ticket unless it came by https.
    server.write_all(b"\r\nX-Forwarded-Proto: https\r\n\r\n")?;
    server.write_all(&request.body)?;
    // A client that has gone, or a server that ends within its reply, is what the other end sees.
    let _ = io::copy(&mut server, &mut stream);
    Ok(())
}
