//! Faults of the state directory and of those who share it: killed processes, full and broken file
//! systems, clocks that are set. Each test prints its row of the table of faults.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The table is for people.
#![allow(clippy::print_stdout)]

mod broken;
mod clock;
mod full;
mod killed;
mod ledger;
mod mounts;
mod readers;
mod site;
mod stress;
