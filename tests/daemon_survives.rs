//! What the daemon lives through, and what does not notice that it did not. It stands where every
//! login of the host passes.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The figures are what some runs are for.
#![allow(clippy::print_stdout)]

mod daemon_site;
mod harness;
mod libsasl2;

// One program of them all, because some of them do little but wait.
#[path = "daemon_survives/fallback.rs"]
mod fallback;
#[path = "daemon_survives/killed.rs"]
mod killed;
#[path = "daemon_survives/one_name.rs"]
mod one_name;
#[path = "daemon_survives/overloaded.rs"]
mod overloaded;
#[path = "daemon_survives/strangers.rs"]
mod strangers;
#[path = "daemon_survives/systemd.rs"]
mod systemd;
#[path = "daemon_survives/told.rs"]
mod told;
#[path = "daemon_survives/whatever.rs"]
mod whatever;
