//! Faults of the host: exhausted resources, forks and reloads of the host application, and faults
//! of the network. The tests check what users see of each fault, and that nothing is lost. Each
//! test prints a row for the table of faults; tests that take minutes run with `make faults`.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The tests print the table of faults.
#![allow(clippy::print_stdout)]

mod harness;
mod libsasl2;

// All tests share one binary, because some of them mostly wait.
#[path = "faults_of_the_host/border.rs"]
mod border;
#[path = "faults_of_the_host/certificate.rs"]
mod certificate;
#[path = "faults_of_the_host/descriptors.rs"]
mod descriptors;
#[path = "faults_of_the_host/dns.rs"]
mod dns;
#[path = "faults_of_the_host/fault_env.rs"]
mod fault_env;
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
