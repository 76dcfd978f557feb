//! The behaviour of a mock server, correct or faulty.

use super::authority::Identity;
use super::http::{self, Request};
use super::https_server::{End, Server, Stream, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a server handles a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Replies with status 200, this body and the server's usual content type.
    Answer(String),
    /// Sends this reply.
    AnswerAs {
        /// The HTTP status.
        status: u16,
        /// The value of Content-Type.
        content_type: String,
        /// The body.
        body: String,
    },
    /// Behaves correctly. A CAS server validates tickets, see `FaultyCas::arm`.
    Tickets,
    /// Like `Tickets`, but as a CAS 2 server, which replies 404 to paths with `/p3/`.
    NotFoundOnP3,
    /// Accepts the connection and never performs the handshake.
    HangOnAccept,
    /// Reads the request and never replies.
    HangAfterRequest,
    /// Accepts the connection and closes it.
    CloseOnAccept,
    /// Reads the request and closes the connection.
    CloseAfterRequest,
    /// Closes the connection after half of this body.
    CloseMidReply(String),
    /// Sends the reply with this body at one byte per second.
    Drip(String),
    /// Sends the reply with this body except for this number of bytes at its end, and then hangs.
    HangBefore(usize, String),
    /// Like `HangBefore`, but sends the rest at one byte per second.
    DripBefore(usize, String),
    /// Replies with status 200 and a body of this number of bytes.
    Huge(usize),
    /// Replies with status 200 and an empty body.
    EmptyBody,
    /// Replies with status 302 and this location.
    Redirect(String),
    /// Sends these bytes instead of an HTTP reply.
    RawBytes(Vec<u8>),
}

/// The correct behaviour of a server.
pub(super) trait Service: Send + 'static {
    /// The Content-Type of the replies.
    const CONTENT_TYPE: &'static str;

    /// Returns the reply to a request, as built by `http::reply`.
    fn answer(&mut self, request: &Request) -> Vec<u8>;
}

/// The state that the connections of a server share.
pub(super) struct State<S> {
    pub behaviour: Behaviour,
    /// Behaviour for requests with these paths, instead of `behaviour`.
    pub behaviour_at: HashMap<String, Behaviour>,
    /// How long a correct reply takes.
    pub delay: Duration,
    pub requests: Vec<String>,
    pub service: S,
}

impl<S: Service> State<S> {
    pub fn new(service: S) -> Self {
        Self {
            behaviour: Behaviour::Tickets,
            behaviour_at: HashMap::new(),
            delay: Duration::ZERO,
            requests: Vec::new(),
            service,
        }
    }
}

/// Starts a server at this address that behaves according to `state`.
pub(super) fn serve<S: Service>(
    address: IpAddr,
    identity: Option<&Identity>,
    state: &Arc<Mutex<State<S>>>,
) -> Server {
    let state = Arc::clone(state);
    Server::start_at(address, identity, move |stream, end| {
        play(&state, stream, end);
    })
}

/// Handles one connection.
fn play<S: Service>(state: &Mutex<State<S>>, stream: &mut dyn Stream, end: &End) {
    use Behaviour as B;
    // The lock is released before the match: a connection that hangs must not block others.
    let on_accept = lock(state).behaviour.clone();
    match on_accept {
        B::HangOnAccept => return hang(end),
        B::CloseOnAccept => return,
        _ => {}
    }
    let mut stream = stream;
    let Some(request) = http::read_request(&mut stream) else {
        return;
    };
    let behaviour = {
        let mut state = lock(state);
        state.requests.push(request.line.clone());
        let special = state.behaviour_at.get(request.path());
        special.unwrap_or(&state.behaviour).clone()
    };
    let reply = match behaviour {
        B::HangOnAccept | B::HangAfterRequest => return hang(end),
        B::CloseOnAccept | B::CloseAfterRequest => return,
        B::Answer(body) => ok::<S>(body.as_bytes()),
        B::AnswerAs {
            status,
            content_type,
            body,
        } => http::reply(status, &content_type, body.as_bytes()),
        B::NotFoundOnP3 if request.path().contains("/p3/") => {
            http::reply(404, "text/html", b"<h1>Not Found</h1>")
        }
        B::Tickets | B::NotFoundOnP3 => answer(state, &request, end),
        B::CloseMidReply(body) => {
            let mut reply = ok::<S>(body.as_bytes());
            reply.truncate(reply.len() - body.len().div_ceil(2));
            reply
        }
        B::Drip(body) => return drip(&mut stream, &ok::<S>(body.as_bytes()), end),
        B::HangBefore(rest, body) => {
            let reply = ok::<S>(body.as_bytes());
            http::send(&mut stream, &reply[..reply.len() - rest]);
            return hang(end);
        }
        B::DripBefore(rest, body) => {
            let reply = ok::<S>(body.as_bytes());
            let (begin, rest) = reply.split_at(reply.len() - rest);
            http::send(&mut stream, begin);
            return drip(&mut stream, rest, end);
        }
        B::Huge(length) => ok::<S>(&vec![b'x'; length]),
        B::EmptyBody => ok::<S>(b""),
        B::Redirect(location) => http::redirect(&location),
        B::RawBytes(bytes) => bytes,
    };
    http::send(&mut stream, &reply);
}

fn answer<S: Service>(state: &Mutex<State<S>>, request: &Request, end: &End) -> Vec<u8> {
    // The ticket is consumed before the delay, as by a busy server that replies late.
    let (reply, delay) = {
        let mut state = lock(state);
        (state.service.answer(request), state.delay)
    };
    end.sleep(delay);
    reply
}

fn ok<S: Service>(body: &[u8]) -> Vec<u8> {
    http::reply(200, S::CONTENT_TYPE, body)
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
