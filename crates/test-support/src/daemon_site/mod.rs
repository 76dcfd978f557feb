//! A Cyrus that asks `sasl-sso serve`, and a CAS that does as it is told.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use crate::authority::Authority;
use crate::cyrus::{Cyrus, Options};
use crate::daemon::{self, Daemon};
use crate::faulty_cas::FaultyCas;
use crate::imap::Imap;
use crate::imap_reply::Reply;
use crate::libsasl2::{self, site::PROXY};
use crate::scratch::Scratch;
use crate::syslog::Line;
use crate::usage::Usage;
use crate::wait::PATIENCE;
use std::path::PathBuf;

/// Cyrus, its daemon and its CAS.
pub struct Site {
    pub daemon: Daemon,
    pub cyrus: Cyrus,
    pub cas: FaultyCas,
    pub scratch: Scratch,
}

impl Site {
    /// A site whose CAS is correct, with patience for a busy machine and these lines of imapd.conf, in which
    /// `{scratch}` is its directory.
    pub fn new(name: &str, other: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let mux = daemon::mux(&scratch).display().to_string();
        let url = cas.url();
        let ca = authority.write_ca(&scratch).display().to_string();
        let mut lines = vec![
            ("sasl_pwcheck_method", "saslauthd"),
            ("sasl_saslauthd_path", &mux),
            ("sasl_caspt_url", &url),
            ("sasl_caspt_ca_file", &ca),
            ("sasl_caspt_proxies", PROXY),
        ];
        lines.extend(other);
        if !other.iter().any(|(name, _)| *name == "sasl_caspt_timeout") {
            lines.push(("sasl_caspt_timeout", "20"));
        }
        let home = scratch.path().display().to_string();
        let owned = |(name, value): (&str, &str)| {
            let value = value.replace("{scratch}", &home);
            (name.to_owned(), value)
        };
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines.into_iter().map(owned).collect(),
            // One that ends has ended for a reason.
            reuse: 100_000,
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            cas,
            scratch,
        }
    }

    /// Where `{scratch}/fallback` is, for `sasl_sso_fallback_socket`.
    pub fn fallback(&self) -> PathBuf {
        self.scratch.join("fallback")
    }

    /// Starts the daemon again, of which nothing is left but its socket.
    pub fn start_again(&mut self) {
        self.daemon = Daemon::start(&self.scratch, &self.cyrus);
    }

    /// A login by a connection of its own.
    pub fn login(&self, user: &str, password: &str) -> Reply {
        Imap::connect(self.cyrus.imap_port()).login(user, password)
    }

    /// What the daemon says to this, without imapd; `None` if it says nothing.
    pub fn ask(&self, user: &str, password: &str) -> Option<String> {
        self.daemon.ask(user, password, "imap")
    }

    /// Makes a ticket one that is known.
    pub fn know(&self, ticket: &str, user: &str) {
        self.cas.arm(ticket, user, &[PROXY]);
        let answer = self.ask(user, ticket);
        assert_eq!(answer.as_deref(), Some("OK"), "{}", self.cyrus.log().tail());
    }

    /// The place up to which the log has come.
    pub fn mark(&self) -> usize {
        self.cyrus.log().mark()
    }

    /// Waits for a line of the daemon's, after `mark`, that has all these words.
    pub fn said(&self, mark: usize, words: &[&str]) -> Line {
        let log = self.cyrus.log();
        let has = |line: &Line| {
            line.ident == "sasl-sso" && words.iter().all(|word| line.text.contains(word))
        };
        let line = log.wait_for_since(mark, has, PATIENCE);
        line.unwrap_or_else(|| panic!("nothing of {words:?}\n{}", log.tail()))
    }

    /// The daemon's lines after `mark`, by now, that have this in them.
    pub fn count(&self, mark: usize, text: &str) -> usize {
        let lines = self.cyrus.log().since(mark);
        let is = |line: &&Line| line.ident == "sasl-sso" && line.text.contains(text);
        lines.iter().filter(is).count()
    }

    /// What the daemon takes now.
    pub fn usage(&self) -> Usage {
        Usage::of(self.daemon.pid())
    }
}
