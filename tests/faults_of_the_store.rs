//! Faults of the state directory and of those who share it: killed processes, full and broken file
//! systems, clocks that are set. Each test prints its row of the table of faults.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The table is for people.
#![allow(clippy::print_stdout)]

mod harness;
mod libsasl2;

#[path = "faults_of_the_store/broken.rs"]
mod broken;
#[path = "faults_of_the_store/clock.rs"]
mod clock;
#[path = "faults_of_the_store/full.rs"]
mod full;
#[path = "faults_of_the_store/killed.rs"]
mod killed;
#[path = "faults_of_the_store/ledger.rs"]
mod ledger;
#[path = "faults_of_the_store/mounts.rs"]
mod mounts;
#[path = "faults_of_the_store/readers.rs"]
mod readers;
#[path = "faults_of_the_store/site.rs"]
mod site;
#[path = "faults_of_the_store/stress.rs"]
mod stress;
