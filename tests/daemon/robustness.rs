//! Faults and attacks that the daemon must survive, and deaths of the daemon that its clients must
//! survive. Every password login of the host depends on the daemon.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// Some runs are made for the figures they print.
#![allow(clippy::print_stdout)]

mod fallback;
mod killed;
mod one_name;
mod overloaded;
mod strangers;
mod systemd;
mod told;
mod whatever;
