//! A CAS that knows tickets by their names: `PT-alice-1` is alice's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Those who have mailboxes.
pub const USERS: [&str; 2] = ["alice", "bob"];

/// The portal that all tickets came through.
pub const PORTAL: &str = "https://webmail.univ.example/callback";

/// Starts it; its port.
pub fn start() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who went away meanwhile need not be answered.
            let _ = serve(stream);
        }
    });
    port
}

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 4_096];
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&bytes[..count]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let ticket = request.split_once("ticket=").map(|(_, rest)| rest);
    let ticket = ticket.and_then(|rest| rest.split([' ', '&']).next());
    let (status, body) = answer(ticket.unwrap_or_default());
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes())
}

fn answer(ticket: &str) -> (&'static str, String) {
    let inner = match USERS.iter().find(|user| is_of(ticket, user)) {
        Some(user) => format!(
            "<cas:authenticationSuccess><cas:user>{user}</cas:user><cas:proxies><cas:proxy>{PORTAL}\
             </cas:proxy></cas:proxies></cas:authenticationSuccess>"
        ),
        None if ticket.starts_with("PT-error-") => return ("500 Oops", String::new()),
        None => format!(
            "<cas:authenticationFailure code=\"INVALID_TICKET\">{ticket}</cas:authenticationFailure>"
        ),
    };
    let body = format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">{inner}</cas:serviceResponse>"
    );
    ("200 OK", body)
}

/// Whether a ticket is this user's.
pub fn is_of(ticket: &str, user: &str) -> bool {
    let rest = ticket
        .strip_prefix("PT-")
        .and_then(|rest| rest.strip_prefix(user));
    rest.is_some_and(|rest| rest.starts_with('-'))
}
