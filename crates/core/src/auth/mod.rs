//! The one path of a login: credential, session cache, validator, session, user.
//!
//! - `authenticator` looks a credential up in the session cache, or has it validated.
//! - `cas` and `jwt` validate tickets and tokens, with all that belongs to one of them: the
//!   validation lock, rate limit and circuit breaker of CAS, the deferred write of a token.
//! - `outcome` has the result of a login; `login_event` is its line in the log.

#![forbid(unsafe_code)]

mod authenticator;
mod cas;
mod jwt;
pub mod login_event;
mod outcome;

pub use authenticator::{Attempt, Authenticator};
pub use outcome::{DeferredWrite, Source, Verdict};
