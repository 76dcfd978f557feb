//! What the daemon lives through, and what does not notice that it did not. It stands where every
//! login of the host passes.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The figures are what some runs are for.
#![allow(clippy::print_stdout)]

// One program of them all, because some of them do little but wait.
mod fallback;
mod killed;
mod one_name;
mod overloaded;
mod strangers;
mod systemd;
mod told;
mod whatever;
