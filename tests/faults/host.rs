//! Faults of the host: exhausted resources, forks and reloads of the host application, and faults
//! of the network. The tests check what users see of each fault, and that nothing is lost. Each
//! test prints a row for the table of faults; tests that take minutes run with `make faults`.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The tests print the table of faults.
#![allow(clippy::print_stdout)]

// All tests share one binary, because some of them mostly wait.
mod border;
mod certificate;
mod descriptors;
mod dns;
mod fault_env;
mod forks;
mod growth;
mod ipv6;
mod memory;
mod namespace;
mod reloads;
mod slow;
mod threads;
mod trusted_cas;
