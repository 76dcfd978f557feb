//! Whose mailbox a user name opens: the one that it spells, or nobody's.
//!
//! Each test logs in to a real Cyrus by the ways of this plugin and its daemon, and tells the owner
//! of a mailbox by the mail in it.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// `make names` shows how many names it tried.
#![allow(clippy::print_stdout)]

mod added_domains;
mod by_the_daemon;
mod every_byte;
mod mail_site;
mod other_protocols;
mod principals;
mod sessions;
mod spelled;
mod table;
