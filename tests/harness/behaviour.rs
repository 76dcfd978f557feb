//! The ways in which a CAS server can fail its clients, and the one in which it does not.

use super::http::{self, Request};
use super::https_server::{End, Stream, lock};
use super::strict_cas::Tickets;
use std::sync::Mutex;
use std::time::Duration;

/// What to do with a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Status 200 with this XML.
    Answer(String),
    /// Any answer.
    AnswerAs {
        /// The HTTP status.
        status: u16,
        /// The value of Content-Type.
        content_type: String,
        /// The body.
        body: String,
    },
    /// A correct server: see `FaultyCas::arm`.
    Tickets,
    /// The same, but one that knows only CAS 2: 404 for paths with `/p3/`.
    NotFoundOnP3,
    /// Accepts and never shakes hands.
    HangOnAccept,
    /// Reads the request and never answers.
    HangAfterRequest,
    /// Accepts and closes.
    CloseOnAccept,
    /// Reads the request and closes.
    CloseAfterRequest,
    /// Closes after half of this body.
    CloseMidReply(String),
    /// Sends the answer with this body one byte a second.
    Drip(String),
    /// Status 200 and a body of so many bytes.
    Huge(usize),
    /// Status 200 and no body.
    EmptyBody,
    /// Status 302 to this place.
    Redirect(String),
    /// These bytes instead of HTTP.
    RawBytes(Vec<u8>),
}

/// What the connections of a server share.
pub(super) struct State {
    pub behaviour: Behaviour,
    pub tickets: Tickets,
    pub requests: Vec<String>,
}

/// Serves one connection.
pub(super) fn play(state: &Mutex<State>, stream: &mut dyn Stream, end: &End) {
    use Behaviour as B;
    let behaviour = lock(state).behaviour.clone();
    match behaviour {
        B::HangOnAccept => return hang(end),
        B::CloseOnAccept => return,
        _ => {}
    }
    let mut stream = stream;
    let Some(request) = http::read_request(&mut stream) else {
        return;
    };
    lock(state).requests.push(request.line.clone());
    let reply = match behaviour {
        B::HangOnAccept | B::HangAfterRequest => return hang(end),
        B::CloseOnAccept | B::CloseAfterRequest => return,
        B::Answer(body) => xml(&body),
        B::AnswerAs {
            status,
            content_type,
            body,
        } => http::reply(status, &content_type, body.as_bytes()),
        B::NotFoundOnP3 if request.path().contains("/p3/") => {
            http::reply(404, "text/html", b"<h1>Not Found</h1>")
        }
        B::Tickets | B::NotFoundOnP3 => validate(state, &request, end),
        B::CloseMidReply(body) => {
            let mut reply = xml(&body);
            reply.truncate(reply.len() - body.len().div_ceil(2));
            reply
        }
        B::Drip(body) => return drip(&mut stream, &xml(&body), end),
        B::Huge(length) => http::reply(200, "text/xml", &vec![b'x'; length]),
        B::EmptyBody => http::reply(200, "text/xml", b""),
        B::Redirect(location) => http::redirect(&location),
        B::RawBytes(bytes) => bytes,
    };
    http::send(&mut stream, &reply);
}

fn validate(state: &Mutex<State>, request: &Request, end: &End) -> Vec<u8> {
    // The ticket is spent at once, as by a server that answers late because it is busy.
    let (body, delay) = {
        let mut state = lock(state);
        (state.tickets.validate(request), state.tickets.delay)
    };
    end.sleep(delay);
    xml(&body)
}

fn xml(body: &str) -> Vec<u8> {
    http::reply(200, "text/xml; charset=utf-8", body.as_bytes())
}

fn drip(stream: &mut dyn Stream, reply: &[u8], end: &End) {
    let mut stream = stream;
    for byte in reply {
        if !http::send(&mut stream, &[*byte]) || !end.sleep(Duration::from_secs(1)) {
            return;
        }
    }
}

fn hang(end: &End) {
    while end.sleep(Duration::from_secs(60)) {}
}
