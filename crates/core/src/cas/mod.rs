//! CAS tickets (CAS protocol 3.0): the request to the server, and what is required of its reply.
//!
//! - `validator` asks a server about a ticket, once, and validates the reply.
//! - `response` and `xml` parse replies.
//! - `probe` asks about a ticket that cannot exist, to find out whether a server answers.

#![forbid(unsafe_code)]

mod probe;
pub(crate) mod response;
mod validator;
mod xml;

pub use probe::{ProbeAnswer, ProbeReply};
pub use validator::CasValidator;
