//! The servers and clients that the tests run against: real programs, private to each test, on
//! loopback.
//!
//! Every test first creates a [`scratch::Scratch`] directory and then its servers in it. All of
//! them
//! are removed when the test ends, whether it passes or fails. No installed, configured or running
//! service is needed.

// Each test binary compiles the whole harness and uses a part of it.
#![allow(dead_code)]
// A failure here fails the test with its message. clippy recognizes only #[test] functions.
#![allow(clippy::expect_used)]

pub mod authority;
pub mod base64;
pub mod bearer_login;
pub mod behaviour;
pub mod cas;
pub mod cas_login;
pub mod cas_reply;
pub mod clients;
pub mod compiled;
pub mod cyrus;
pub mod cyrus_conf;
pub mod daemon;
pub mod dice;
pub mod examples;
pub mod faulty_cas;
pub mod faulty_saslauthd;
pub mod http;
pub mod httpd;
pub mod https_server;
pub mod imap;
pub mod imap_reply;
pub mod key_server;
pub mod lock_file;
pub mod memory;
pub mod mint;
pub mod node;
pub mod oidc;
pub mod oidc_login;
pub mod password_clients;
pub mod password_server;
pub mod php_webmail;
pub mod plugin_dir;
pub mod port;
pub mod portal;
pub mod postfix;
pub mod postfix_conf;
pub mod process;
pub mod relay;
pub mod root_only;
pub mod saslauthd;
pub mod scratch;
pub mod selective_cas;
pub mod slow_relay;
pub mod smtp;
pub mod strict_cas;
pub mod syslog;
pub mod tls;
pub mod tls_front;
pub mod unix_server;
pub mod usage;
pub mod wait;
