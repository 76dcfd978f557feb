//! The ways in which a server can fail its clients, and the one in which it does not.

use super::authority::Identity;
use super::http::{self, Request};
use super::https_server::{End, Server, Stream, lock};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What to do with a connection.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Status 200 with this body, of the type that is expected of the server.
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
    /// A correct server; of tickets if it is a CAS, see `FaultyCas::arm`.
    Tickets,
    /// The same, but a CAS that knows only CAS 2: 404 for paths with `/p3/`.
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
    /// Sends the answer with this body up to so many bytes from its end, and then nothing more.
    HangBefore(usize, String),
    /// The same, and then one byte a second.
    DripBefore(usize, String),
    /// Status 200 and a body of so many bytes.
    Huge(usize),
    /// Status 200 and no body.
    EmptyBody,
    /// Status 302 to this place.
    Redirect(String),
    /// These bytes instead of HTTP.
    RawBytes(Vec<u8>),
}

/// What a server does as long as it is correct.
pub(super) trait Service: Send + 'static {
    /// The Content-Type of its answers.
    const CONTENT_TYPE: &'static str;

    /// The reply to a request, of `http::reply`.
    fn answer(&mut self, request: &Request) -> Vec<u8>;
}

/// What the connections of a server share.
pub(super) struct State<S> {
    pub behaviour: Behaviour,
    /// What is done instead with requests for these paths.
    pub behaviour_at: HashMap<String, Behaviour>,
    /// How long a correct answer takes.
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

/// Starts a server at this address that behaves as the state says.
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

/// Serves one connection.
fn play<S: Service>(state: &Mutex<State<S>>, stream: &mut dyn Stream, end: &End) {
    use Behaviour as B;
    // No guard lives through the match: one that hangs would keep all others out.
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
    // A ticket is spent at once, as by a server that answers late because it is busy.
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
