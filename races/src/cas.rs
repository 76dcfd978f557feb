//! A CAS that answers as it is told, on threads of its own, which nobody decides on.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// In the chain of its tickets.
pub const PROXY: &str = "https://webmail.example/pgt";

/// How often it was asked about each ticket.
type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// It takes tickets that have `good` in them, once and again; lives as long as the program.
pub struct Cas {
    url: String,
    asked: Asked,
}

impl Cas {
    /// Starts to listen.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let asked = Asked::default();
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                thread::spawn(move || answer(stream, &counted));
            }
        });
        Self {
            url: format!("http://{address}/cas"),
            asked,
        }
    }

    /// The value of `caspt_url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often it was asked about this ticket.
    pub fn asked(&self, ticket: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(ticket).copied().unwrap_or_default()
    }
}

fn answer(stream: TcpStream, asked: &Asked) {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    if reader.read_line(&mut request).is_err() {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let query = request.split([' ', '?', '&']);
    let ticket = query.filter_map(|part| part.strip_prefix("ticket=")).next();
    let ticket = ticket.unwrap_or_default().to_owned();
    let inner = if ticket.contains("good") {
        format!(
            "<cas:authenticationSuccess><cas:user>alice</cas:user><cas:proxies><cas:proxy>{PROXY}\
             </cas:proxy></cas:proxies></cas:authenticationSuccess>"
        )
    } else {
        "<cas:authenticationFailure code=\"INVALID_TICKET\">no</cas:authenticationFailure>"
            .to_owned()
    };
    let mut counts = asked.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(ticket).or_default() += 1;
    drop(counts);
    let body = format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\">{inner}</cas:serviceResponse>"
    );
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
