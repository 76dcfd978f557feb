//! CASPT: `[authzid] NUL [authcid] NUL ticket`, the form of PLAIN (RFC 4616, section 2), and the
//! challenge after a refusal.

#![forbid(unsafe_code)]

use serde_json::json;

use super::{Message, identity, malformed, status};
use crate::credential::Ticket;
use crate::error::{Failure, FailureKind};

/// Parses a client's message.
///
/// # Errors
/// [`Reason::MessageMalformed`](crate::error::Reason::MessageMalformed) or
/// [`Reason::TicketMalformed`](crate::error::Reason::TicketMalformed).
pub fn parse(bytes: &[u8]) -> Result<Message<Ticket>, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("is not UTF-8"))?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(authcid), Some(ticket), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("has not exactly two NUL in it"));
    };
    Ok(Message {
        authzid: identity(authzid)?,
        authcid: identity(authcid)?,
        credential: Ticket::parse(ticket)?,
    })
}

/// The challenge after a failure of this kind. It tells the client to get a new ticket, from which
/// CAS server and for which service. `None` if the failure is not the client's fault: its ticket
/// may be valid.
///
/// The challenge contains nothing that depends on the user.
pub fn challenge(kind: FailureKind, cas: &str, service: &str) -> Option<String> {
    let status = status(kind, ["invalid_request", "invalid_ticket", "not_allowed"])?;
    Some(json!({ "status": status, "cas": cas, "service": service }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    fn reason(bytes: &[u8]) -> Reason {
        parse(bytes).unwrap_err().reason()
    }

    #[test]
    fn messages_in_the_form_of_plain_are_parsed() {
        let message = parse(b"\0\0PT-12345").unwrap();
        assert_eq!((message.authzid, message.authcid), (None, None));
        assert_eq!(message.credential.expose(), "PT-12345");

        let message = parse("bob\0älice\0ST-12345".as_bytes()).unwrap();
        assert_eq!(message.authzid.as_deref(), Some("bob"));
        assert_eq!(message.authcid.as_deref(), Some("älice"));
    }

    #[test]
    fn other_messages_are_malformed() {
        for bytes in [
            &b""[..],
            b"PT-12345",
            b"\0PT-12345",
            b"\0\0\0PT-12345",
            b"\0\0PT-12345\0",
            b"\xff\0\0PT-12345",
            b"a\nb\0\0PT-12345",
            b"\0a\x7fb\0PT-12345",
        ] {
            assert_eq!(reason(bytes), Reason::MessageMalformed, "{bytes:?}");
        }
        assert_eq!(reason(b"\0\0password"), Reason::TicketMalformed);
        assert_eq!(reason(b"\0\0PT-12345\r\n"), Reason::TicketMalformed);
        let long = format!("{}\0\0PT-12345", "a".repeat(256));
        assert_eq!(reason(long.as_bytes()), Reason::MessageMalformed);
    }

    #[test]
    fn challenge_names_the_service_and_the_server() {
        let challenge = challenge(FailureKind::Refused, "https://cas/", "imap://\"m\"").unwrap();
        let challenge: serde_json::Value = serde_json::from_str(&challenge).unwrap();
        assert_eq!(challenge["status"], "invalid_ticket");
        assert_eq!(challenge["cas"], "https://cas/");
        assert_eq!(challenge["service"], "imap://\"m\"");
    }

    #[test]
    fn outage_has_no_challenge() {
        assert_eq!(challenge(FailureKind::Unavailable, "", ""), None);
        assert_eq!(challenge(FailureKind::Internal, "", ""), None);
    }
}
