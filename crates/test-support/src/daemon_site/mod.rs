//! A Cyrus that has passwords checked by `sasl-sso serve`, and a CAS server that can be made to
//! fail.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
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

/// A running Cyrus with its daemon and its CAS server.
pub struct DaemonEnv {
    pub daemon: Daemon,
    pub cyrus: Cyrus,
    pub cas: FaultyCas,
    pub scratch: Scratch,
}

impl DaemonEnv {
    /// Starts the environment with these additional lines of imapd.conf, in which `{scratch}`
    /// stands for the scratch directory. The CAS server behaves correctly, and time-outs are long
    /// enough for a busy machine.
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
            // No process is recycled, so a process that ends has crashed or was killed.
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

    /// The path `{scratch}/fallback`, for `sasl_sso_fallback_socket`.
    pub fn fallback(&self) -> PathBuf {
        self.scratch.join("fallback")
    }

    /// Starts the daemon again after it was killed and left only its socket.
    pub fn start_again(&mut self) {
        self.daemon = Daemon::start(&self.scratch, &self.cyrus);
    }

    /// Logs in over a new connection.
    pub fn login(&self, user: &str, password: &str) -> Reply {
        Imap::connect(self.cyrus.imap_port()).login(user, password)
    }

    /// The daemon's answer to a request without imapd; `None` if it closes the connection without
    /// one.
    pub fn ask(&self, user: &str, password: &str) -> Option<String> {
        self.daemon.ask(user, password, "imap")
    }

    /// Has the daemon validate a ticket, so that its session is cached.
    pub fn cache_ticket(&self, ticket: &str, user: &str) {
        self.cas.arm(ticket, user, &[PROXY]);
        let answer = self.ask(user, ticket);
        assert_eq!(answer.as_deref(), Some("OK"), "{}", self.cyrus.log().tail());
    }

    /// The current end of the log.
    pub fn mark(&self) -> usize {
        self.cyrus.log().mark()
    }

    /// Waits for a log line of the daemon after `mark` that contains all these words.
    pub fn wait_for_log(&self, mark: usize, words: &[&str]) -> Line {
        let log = self.cyrus.log();
        let has = |line: &Line| {
            line.ident == "sasl-sso" && words.iter().all(|word| line.text.contains(word))
        };
        let line = log.wait_for_since(mark, has, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }

    /// The number of the daemon's log lines after `mark` that contain this text.
    pub fn count(&self, mark: usize, text: &str) -> usize {
        let lines = self.cyrus.log().since(mark);
        let is = |line: &&Line| line.ident == "sasl-sso" && line.text.contains(text);
        lines.iter().filter(is).count()
    }

    /// The resources that the daemon uses now.
    pub fn usage(&self) -> Usage {
        Usage::of(self.daemon.pid())
    }
}
