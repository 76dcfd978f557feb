//! Requests about a ticket that cannot exist: they show whether a CAS server answers and accepts
//! the service, and consume no real ticket.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use url::Url;

use super::response;
use super::validator::{CasValidator, MAX_REPLY_BYTES, PATHS, request_url};
use crate::credential::Ticket;
use crate::error::{Failure, Reason};
use crate::platform::deadline::Deadline;

/// The answer of one server.
#[derive(Debug)]
pub struct ProbeAnswer {
    /// The endpoint that answered.
    pub path: &'static str,
    /// The server's certificate in DER, if the request used TLS.
    pub certificate: Option<Vec<u8>>,
    /// The meaning of the reply.
    pub reply: ProbeReply,
}

/// A reply about a ticket that nobody issued.
#[derive(Debug, PartialEq, Eq)]
pub enum ProbeReply {
    /// The server refuses the ticket (CAS protocol 3.0, section 2.5.3).
    Refused {
        /// The error code, such as `INVALID_TICKET`.
        code: String,
        /// The message for people.
        text: String,
    },
    /// The server accepts the ticket. No CAS server does that.
    Accepted,
    /// The reply is not one of CAS; the text says why.
    Unusable(String),
}

impl CasValidator {
    /// Asks one of the servers about a ticket that cannot exist, in the way of
    /// [`CasValidator::validate`].
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn probe(
        &self,
        base: &Url,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> Result<ProbeAnswer, Failure> {
        let ticket = impossible_ticket("check-of-the-configuration")?;
        let get = |path: &str| {
            let url = request_url(base, path, ticket.expose(), service);
            let response = self.http.get(url, MAX_REPLY_BYTES, deadline);
            response.map_err(|error| error.failure)
        };
        let [newer, older] = PATHS;
        let mut answered = (newer, get(newer)?);
        if answered.1.status == 404 {
            answered = (older, get(older)?);
        }
        let (path, response) = answered;
        let reply = match response.status {
            200 => read_reply(&response.body),
            status => ProbeReply::Unusable(format!("it answers with HTTP status {status}")),
        };
        Ok(ProbeAnswer {
            path,
            certificate: response.certificate,
            reply,
        })
    }
}

fn read_reply(body: &[u8]) -> ProbeReply {
    let failure = match response::read(body) {
        Ok(_) => return ProbeReply::Accepted,
        Err(failure) => failure,
    };
    let refusal = failure.detail().strip_prefix("CAS says ");
    match refusal.and_then(|text| text.split_once(": ")) {
        Some((code, text)) => ProbeReply::Refused {
            code: code.to_owned(),
            text: text.to_owned(),
        },
        None => ProbeReply::Unusable(failure.detail().to_owned()),
    }
}

/// Creates a ticket that nobody issued. It contains its `purpose`, for those who find it in the
/// server's log.
pub(crate) fn impossible_ticket(purpose: &str) -> Result<Ticket, Failure> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Failure::new(Reason::InternalError, "no random bytes"))?;
    let mut text = format!("PT-sasl-sso-{purpose}-");
    for byte in random {
        let _ = write!(text, "{byte:02x}");
    }
    Ticket::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_tickets_are_unique() {
        let [one, other] = [(); 2].map(|()| impossible_ticket("check").unwrap());
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn refusal_acceptance_and_unusable_reply_are_distinguished() {
        let reply = |inner: &str| {
            let ns = "http://www.yale.edu/tp/cas";
            read_reply(
                format!("<c:serviceResponse xmlns:c='{ns}'>{inner}</c:serviceResponse>").as_bytes(),
            )
        };
        let refused =
            "<c:authenticationFailure code='INVALID_SERVICE'>no</c:authenticationFailure>";
        assert_eq!(
            reply(refused),
            ProbeReply::Refused {
                code: "INVALID_SERVICE".to_owned(),
                text: "no".to_owned()
            }
        );
        let success = "<c:authenticationSuccess><c:user>a</c:user></c:authenticationSuccess>";
        assert_eq!(reply(success), ProbeReply::Accepted);
        assert!(matches!(read_reply(b"<html>"), ProbeReply::Unusable(_)));
    }
}
