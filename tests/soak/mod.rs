//! A site with everything real in it, forty connections, and somebody who keeps stopping things.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

pub mod clients;
pub mod figures;
pub mod ledger;
pub mod login;
pub mod outages;
pub mod run;
pub mod site;
pub mod stock;
pub mod tally;
pub mod verdict;
pub mod webmail;
pub mod wrong;
