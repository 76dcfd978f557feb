//! A server before a real CAS that leaves the requests for chosen tickets unanswered.

use super::authority::Authority;
use super::cas::{CasServer, browser};
use super::http;
use super::https_server::{End, Server, Stream};
use reqwest::blocking::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A ticket with this text in it is left unanswered.
pub const UNANSWERED: &str = "unanswered";

/// A running server, with TLS.
pub struct SelectiveCas {
    server: Server,
    answers: Arc<AtomicBool>,
}

impl SelectiveCas {
    /// Starts it before this CAS.
    pub fn start(authority: &Authority, cas: &CasServer) -> Self {
        let answers = Arc::new(AtomicBool::new(true));
        let (cas_url, client) = (cas.url(), browser(cas.ca_pem()));
        let is_up = Arc::clone(&answers);
        let identity = authority.server_certificate();
        let server = Server::start(Some(&identity), move |stream, end| {
            serve(stream, end, &cas_url, &client, &is_up);
        });
        Self { server, answers }
    }

    /// The value of `caspt_url`.
    pub fn url(&self) -> String {
        self.server.origin()
    }

    /// From now on all requests are left unanswered, or only those for chosen tickets.
    pub fn set_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::SeqCst);
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }
}

fn serve(mut stream: &mut dyn Stream, end: &End, cas: &str, client: &Client, is_up: &AtomicBool) {
    let Some(request) = http::read_request(&mut stream) else {
        return;
    };
    let ticket = request.parameter("ticket").unwrap_or_default();
    if ticket.contains(UNANSWERED) || !is_up.load(Ordering::SeqCst) {
        while end.sleep(Duration::from_secs(60)) {}
        return;
    }
    let target = request.line.split(' ').nth(1).unwrap_or_default();
    let reply = client.get(format!("{cas}{target}")).send();
    let reply = reply.and_then(|reply| Ok((reply.status().as_u16(), reply.bytes()?)));
    let (status, body) = reply.expect("a reply of the CAS server");
    http::send(&mut stream, &http::reply(status, "text/xml", &body));
}
