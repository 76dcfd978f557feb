//! What a host runs out of, what it does to its processes, and what its network does to it: what
//! users see of that, and that nothing is lost by it. Each test prints its row of the table of
//! faults; what takes minutes is left to `make faults`.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The table of faults.
#![allow(clippy::print_stdout)]

mod harness;
mod libsasl2;

// One program of them all, because some of them do little but wait.
#[path = "faults_of_the_host/border.rs"]
mod border;
#[path = "faults_of_the_host/certificate.rs"]
mod certificate;
#[path = "faults_of_the_host/descriptors.rs"]
mod descriptors;
#[path = "faults_of_the_host/dns.rs"]
mod dns;
#[path = "faults_of_the_host/forks.rs"]
mod forks;
#[path = "faults_of_the_host/growth.rs"]
mod growth;
#[path = "faults_of_the_host/ipv6.rs"]
mod ipv6;
#[path = "faults_of_the_host/memory.rs"]
mod memory;
#[path = "faults_of_the_host/namespace.rs"]
mod namespace;
#[path = "faults_of_the_host/reloads.rs"]
mod reloads;
#[path = "faults_of_the_host/slow.rs"]
mod slow;
#[path = "faults_of_the_host/threads.rs"]
mod threads;
#[path = "faults_of_the_host/trusted_cas.rs"]
mod trusted_cas;
#[path = "faults_of_the_host/world.rs"]
mod world;
