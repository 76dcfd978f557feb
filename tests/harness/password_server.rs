//! Who knows the ordinary passwords of a site: a stock saslauthd, and a Cyrus of its own that it
//! asks by LOGIN.

use super::authority::Authority;
use super::cyrus::{Cyrus, Options};
use super::saslauthd::Saslauthd;
use super::scratch::Scratch;
use super::syslog::Line;
use super::wait::{PATIENCE, wait_until};
use std::path::PathBuf;

/// It does not run where the clients log in, and nobody asks it but through its socket.
pub struct PasswordServer {
    // Ended before whom it asks.
    saslauthd: Saslauthd,
    cyrus: Cyrus,
}

impl PasswordServer {
    /// Starts it with these users and passwords.
    pub fn start(authority: &Authority, users: &[(&str, &str)]) -> Self {
        // Its directories would be those of the site's own Cyrus otherwise.
        let scratch = Scratch::new("behind");
        let cyrus = Cyrus::start(&scratch, authority, Options::default());
        for (user, password) in users {
            cyrus.sasl_user(user, password);
        }
        Self {
            saslauthd: Saslauthd::start(&scratch, &cyrus),
            cyrus,
        }
    }

    /// Its socket.
    pub fn mux(&self) -> &PathBuf {
        self.saslauthd.mux()
    }

    /// Waits until it was asked about so many passwords since it started, and no more.
    #[track_caller]
    pub fn assert_asked(&self, times: usize) {
        let asked = || {
            let lines = self.cyrus.log().lines();
            // Not saslauthd's own lines, in which imapd's answers are.
            let is_answer = |line: &&Line| {
                line.ident == "cyrus/imap"
                    && ["User logged in", "badlogin: "]
                        .iter()
                        .any(|text| line.text.contains(text))
            };
            lines.iter().filter(is_answer).count()
        };
        wait_until(PATIENCE, || asked() >= times);
        assert_eq!(asked(), times, "{}", self.told());
    }

    /// What it said, for the message of a failing test.
    pub fn told(&self) -> String {
        format!("{}{}", self.saslauthd.output(), self.cyrus.log().tail())
    }
}
