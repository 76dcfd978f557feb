//! Tests that a user name opens its own mailbox, or none.
//!
//! Each test logs in to a real Cyrus through the plugin and the daemon, and identifies the owner of
//! a mailbox by the mail in it.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// `make names` prints the number of names.
#![allow(clippy::print_stdout)]

mod added_domains;
mod by_the_daemon;
mod every_byte;
mod mail_env;
mod oracle;
mod other_protocols;
mod principals;
mod sessions;
mod table;
