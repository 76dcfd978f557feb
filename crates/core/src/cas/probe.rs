//! What a CAS server says to a ticket that cannot exist: whether it is there, and
//! whether it knows the service. Nothing real is used up.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use url::Url;

use super::{Cas, LONGEST_REPLY, PATHS, request, response};
use crate::credential::Ticket;
use crate::error::{Failure, Reason};
use crate::platform::deadline::Deadline;

/// What one server answered.
#[derive(Debug)]
pub struct Answer {
    /// The path that it answered at.
    pub path: &'static str,
    /// Its certificate in DER, if it was asked over TLS.
    pub certificate: Option<Vec<u8>>,
    /// What it said.
    pub said: Said,
}

/// What a server makes of a ticket that nobody issued.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// That it is not good, with the code of the protocol and its own words.
    Refused {
        /// Such as `INVALID_TICKET`.
        code: String,
        /// For people.
        text: String,
    },
    /// That it is good, which no CAS server may say.
    Accepted,
    /// Something that is no answer of CAS.
    Nonsense(String),
}

impl Cas {
    /// Asks one of the servers about a ticket that cannot exist, for this service,
    /// as a real one would be asked about.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn probe(
        &self,
        base: &Url,
        service: &str,
        deadline: &Deadline<'_>,
    ) -> Result<Answer, Failure> {
        let ticket = impossible_ticket("check-of-the-configuration")?;
        let get = |path: &str| {
            let url = request(base, path, ticket.expose(), service);
            let response = self.http.get(url, LONGEST_REPLY, deadline);
            response.map_err(|error| error.failure)
        };
        let [newer, older] = PATHS;
        let mut answered = (newer, get(newer)?);
        if answered.1.status == 404 {
            answered = (older, get(older)?);
        }
        let (path, response) = answered;
        let said = match response.status {
            200 => said(&response.body),
            status => Said::Nonsense(format!("it answers with HTTP status {status}")),
        };
        Ok(Answer {
            path,
            certificate: response.certificate,
            said,
        })
    }
}

fn said(body: &[u8]) -> Said {
    let failure = match response::read(body) {
        Ok(_) => return Said::Accepted,
        Err(failure) => failure,
    };
    let refused = failure.detail().strip_prefix("CAS says ");
    match refused.and_then(|said| said.split_once(": ")) {
        Some((code, text)) => Said::Refused {
            code: code.to_owned(),
            text: text.to_owned(),
        },
        None => Said::Nonsense(failure.detail().to_owned()),
    }
}

/// A ticket that nobody issued. It says its `purpose` to whoever finds it in the server's log.
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
    fn no_two_tickets_are_the_same() {
        let [one, other] = [(); 2].map(|()| impossible_ticket("check").unwrap());
        assert_ne!(one.expose(), other.expose());
    }

    #[test]
    fn an_answer_is_told_from_nonsense() {
        let reply = |inner: &str| {
            let ns = "http://www.yale.edu/tp/cas";
            said(
                format!("<c:serviceResponse xmlns:c='{ns}'>{inner}</c:serviceResponse>").as_bytes(),
            )
        };
        let refused =
            "<c:authenticationFailure code='INVALID_SERVICE'>no</c:authenticationFailure>";
        assert_eq!(
            reply(refused),
            Said::Refused {
                code: "INVALID_SERVICE".to_owned(),
                text: "no".to_owned()
            }
        );
        let success = "<c:authenticationSuccess><c:user>a</c:user></c:authenticationSuccess>";
        assert_eq!(reply(success), Said::Accepted);
        assert!(matches!(said(b"<html>"), Said::Nonsense(_)));
    }
}
