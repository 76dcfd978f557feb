//! The soak test: real servers, forty connections, and threads that disrupt the servers.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

pub mod bad_credentials;
pub mod clients;
pub mod figures;
pub mod ledger;
pub mod login;
pub mod outages;
pub mod pool;
pub mod run;
pub mod servers;
pub mod tally;
pub mod verdict;
pub mod webmail;
