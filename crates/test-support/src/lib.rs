//! The servers and clients that the tests run against: real programs, private to each test, on
//! loopback.
//!
//! Every test first creates a [`scratch::Scratch`] directory and then its servers in it. All of
//! them are removed when the test ends, whether it passes or fails. No installed, configured or
//! running service is needed. A failure panics with its message, which fails the test.

pub mod attacks;
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
pub mod daemon_site;
pub mod dice;
pub mod documents;
pub mod examples;
pub mod explaining;
pub mod faulty_cas;
pub mod faulty_saslauthd;
pub mod http;
pub mod httpd;
pub mod https_server;
pub mod imap;
pub mod imap_reply;
pub mod key_server;
pub mod libsasl2;
pub mod lock_file;
pub mod memory;
pub mod mint;
pub mod node;
pub mod oidc;
pub mod oidc_login;
pub mod password_clients;
pub mod password_server;
pub mod password_site;
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
pub mod thousand;
pub mod tls;
pub mod tls_front;
pub mod unix_server;
pub mod usage;
pub mod wait;

use std::path::PathBuf;

/// The root of the workspace.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the path of a file that the release build has made. Tests, benches and examples are
/// built two directories below the target directory.
///
/// # Panics
/// If the release build has not been made.
pub fn released(name: &str) -> PathBuf {
    let test_binary = std::env::current_exe().expect("the path of this test binary");
    let target = test_binary.ancestors().nth(3);
    let file = target.map(|target| target.join("release").join(name));
    let file = file.filter(|path| path.exists());
    file.unwrap_or_else(|| {
        panic!("{name} is not built: run `make build`, or the tests by `make test`")
    })
}
