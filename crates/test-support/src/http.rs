//! The subset of HTTP/1.1 that the servers of the tests need. Each connection serves one request.

use std::io::{self, Read, Write};

/// A complete request.
pub struct Request {
    /// The request line, such as `GET /p3/proxyValidate?ticket=… HTTP/1.1`.
    pub line: String,
    /// The request line and the headers, without the empty line that ends them.
    pub head: String,
    /// The request body.
    pub body: Vec<u8>,
    url: reqwest::Url,
}

impl Request {
    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Returns a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.url
            .query_pairs()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// Reads one request. Returns `None` if the client closes the connection before it is complete.
pub fn read_request(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            break end;
        }
        read_more(stream, &mut bytes)?;
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let line = lines.next()?.to_owned();
    let length = lines
        .filter_map(|header| header.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse().ok())?;
    let mut body = bytes.split_off(head + 4);
    while body.len() < length {
        read_more(stream, &mut body)?;
    }
    let target = line.split(' ').nth(1)?;
    let url = reqwest::Url::parse("http://localhost")
        .and_then(|base| base.join(target))
        .ok()?;
    Some(Request {
        line,
        head: text,
        body,
        url,
    })
}

/// Builds a reply with a body and a Content-Length.
pub fn reply(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut reply = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        reason(status),
        body.len()
    )
    .into_bytes();
    reply.extend_from_slice(body);
    reply
}

/// Builds a redirection.
pub fn redirect(location: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 {}\r\nLocation: {location}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        reason(302)
    )
    .into_bytes()
}

/// Sends all bytes. Returns false if the client has closed the connection.
pub fn send(stream: &mut impl Write, bytes: &[u8]) -> bool {
    stream
        .write_all(bytes)
        .and_then(|()| stream.flush())
        .is_ok()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Some Status",
    }
}

fn read_more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(length) => {
                bytes.extend_from_slice(&buffer[..length]);
                return Some(());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
