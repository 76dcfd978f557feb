//! A server for ordinary passwords: a stock saslauthd that checks them by LOGIN at its own Cyrus.

use super::authority::Authority;
use super::cyrus::{Cyrus, Options};
use super::saslauthd::Saslauthd;
use super::scratch::Scratch;
use super::syslog::Line;
use super::wait::{PATIENCE, wait_until};
use std::path::PathBuf;

/// A running password server. Clients reach it only through its socket.
pub struct PasswordServer {
    // Declared first, so that it is stopped before the Cyrus that it uses.
    saslauthd: Saslauthd,
    cyrus: Cyrus,
}

impl PasswordServer {
    /// Starts the server with these users and passwords.
    pub fn start(authority: &Authority, users: &[(&str, &str)]) -> Self {
        // A separate directory, because the test's main Cyrus has the same directory names.
        let scratch = Scratch::new("fallback");
        let cyrus = Cyrus::start(&scratch, authority, Options::default());
        for (user, password) in users {
            cyrus.sasl_user(user, password);
        }
        Self {
            saslauthd: Saslauthd::start(&scratch, &cyrus),
            cyrus,
        }
    }

    /// Returns the path of the socket.
    pub fn mux(&self) -> &PathBuf {
        self.saslauthd.mux()
    }

    /// Waits until the server has checked this number of passwords since it started. Panics if it
    /// has checked more or fewer.
    #[track_caller]
    pub fn assert_asked(&self, times: usize) {
        let asked = || {
            let lines = self.cyrus.log().lines();
            // Only lines of imapd count; saslauthd logs imapd's replies as well.
            let is_answer = |line: &&Line| {
                line.ident == "cyrus/imap"
                    && ["User logged in", "badlogin: "]
                        .iter()
                        .any(|text| line.text.contains(text))
            };
            lines.iter().filter(is_answer).count()
        };
        wait_until(PATIENCE, || asked() >= times);
        assert_eq!(asked(), times, "{}", self.output());
    }

    /// Returns its output and log, for the message of a failing test.
    pub fn output(&self) -> String {
        format!("{}{}", self.saslauthd.output(), self.cyrus.log().tail())
    }
}
