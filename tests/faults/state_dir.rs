//! Faults of the state directory and of the processes that share it: killed processes, full and
//! broken file systems, clocks that are set. Each test prints its row of the table of faults.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The tests print the table of faults.
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
