//! The ticket table of a strict CAS server: each ticket is valid for exactly one validation.

use super::behaviour::Service;
use super::cas_reply;
use super::http::{self, Request};
use std::collections::HashMap;
use std::time::Instant;

/// A table of valid tickets.
#[derive(Default)]
pub struct Tickets {
    armed: HashMap<String, Ticket>,
    answers: HashMap<String, Vec<Answer>>,
    /// The `service` that validations must name; `None` accepts any.
    pub service: Option<String>,
}

/// The answer to one validation.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// When the server decided.
    pub at: Instant,
    /// Whether the ticket was valid. It is consumed either way.
    pub is_yes: bool,
}

/// The data that a validation returns.
pub struct Ticket {
    /// `cas:user`
    pub user: String,
    /// The proxy chain, the most recent proxy first.
    pub proxies: Vec<String>,
    /// The attributes. A name may occur several times.
    pub attributes: Vec<(String, String)>,
}

impl Tickets {
    /// Adds a valid ticket.
    pub fn arm(&mut self, value: &str, ticket: Ticket) {
        self.armed.insert(value.to_owned(), ticket);
    }

    /// Returns the answers to validations of a ticket, in order.
    pub fn answers_about(&self, ticket: &str) -> Vec<Answer> {
        self.answers.get(ticket).cloned().unwrap_or_default()
    }

    /// Validates and consumes a ticket. A failed validation consumes it, too.
    pub fn validate(&mut self, request: &Request) -> String {
        let reply = self.decide(request);
        if let Some(ticket) = request.parameter("ticket") {
            let answer = Answer {
                at: Instant::now(),
                is_yes: cas_reply::is_success(&reply),
            };
            self.answers.entry(ticket).or_default().push(answer);
        }
        reply
    }

    fn decide(&mut self, request: &Request) -> String {
        let (Some(value), Some(service)) =
            (request.parameter("ticket"), request.parameter("service"))
        else {
            return cas_reply::failure("INVALID_REQUEST", "service and ticket are required");
        };
        let Some(ticket) = self.armed.remove(&value) else {
            return cas_reply::failure("INVALID_TICKET", "ticket not recognized");
        };
        if self.service.as_ref().is_some_and(|only| *only != service) {
            return cas_reply::failure("INVALID_SERVICE", &service);
        }
        if request.path().ends_with("/serviceValidate") && value.starts_with("PT") {
            return cas_reply::failure("INVALID_TICKET_SPEC", "a proxy ticket is not accepted");
        }
        let proxies: Vec<&str> = ticket.proxies.iter().map(String::as_str).collect();
        let attributes: Vec<(&str, &str)> = ticket
            .attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        cas_reply::success(&ticket.user, &proxies, &attributes)
    }
}

impl Service for Tickets {
    const CONTENT_TYPE: &'static str = "text/xml; charset=utf-8";

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        http::reply(200, Self::CONTENT_TYPE, self.validate(request).as_bytes())
    }
}
