//! An environment for clients that can only send a password: a Cyrus that accepts tickets of a real
//! CAS and tokens, two applications that obtain tickets, and a server that checks ordinary
//! passwords.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use crate::authority::Authority;
use crate::bearer_login::Outcome;
use crate::cas::CasServer;
use crate::cyrus::{Cyrus, Options, Service};
use crate::daemon::{self, Daemon};
use crate::imap::Imap;
use crate::libsasl2;
use crate::mint::{SigningKey, now};
use crate::password_clients::{PasswordClient, PasswordClients, PasswordLogin, Way};
use crate::password_server::PasswordServer;
use crate::php_webmail::PhpWebmail;
use crate::portal::Portal;
use crate::scratch::Scratch;
use crate::syslog::Line;
use crate::wait::PATIENCE;
use serde_json::json;
use std::path::Path;

/// The service name of tickets, if all protocols share one.
pub const IMAP: &str = "imap://localhost";

/// The users whose ordinary password is [`SECRET`].
pub const USERS: [&str; 2] = ["alice", "bert"];
pub const SECRET: &str = "an-ordinary-one";

/// The header of all tokens.
pub const TOKEN_HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// One service name for all protocols, which therefore share sessions.
pub const ONE_SERVICE: (&str, &str) = ("sasl_caspt_service", IMAP);

const SERVICES: [Service; 5] = [
    Service::Imap,
    Service::Imaps,
    Service::Pop3,
    Service::Sieve,
    Service::Http,
];

/// Names for the configuration of the environment.
pub struct Names {
    /// The socket of the daemon, and that of the server that checks ordinary passwords.
    pub mux: String,
    pub fallback: String,
    /// The URL of CAS, and the CA of its certificate.
    pub cas: String,
    pub ca: String,
    /// The URLs of the two applications, up to a slash.
    pub webmail: String,
    pub portal: String,
    /// The file of the key that signs [`PasswordEnv::token`].
    pub key: String,
}

impl Names {
    /// Returns the options for tickets and tokens, with these lines added or changed.
    fn with(&self, lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let proxies = format!("{}* {}*", self.webmail, self.portal);
        let mut all = vec![
            ("sasl_caspt_url", self.cas.as_str()),
            ("sasl_caspt_ca_file", &self.ca),
            ("sasl_caspt_proxies", &proxies),
            ("sasl_caspt_timeout", "2"),
            ("sasl_jwt_keys", &self.key),
            ("sasl_jwt_issuer", "*"),
            ("sasl_jwt_audience", "*"),
            // Services other than imapd leave logging to libsasl2, which suppresses most messages
            // by default.
            ("sasl_log_level", "7"),
        ];
        all.retain(|(key, _)| lines.iter().all(|(other, _)| other != key));
        all.extend(lines);
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        all.into_iter().map(owned).collect()
    }
}

/// The running servers. They are stopped in the order of the fields.
pub struct PasswordEnv {
    pub daemon: Option<Daemon>,
    pub cyrus: Cyrus,
    pub fallback: PasswordServer,
    pub webmail: PhpWebmail,
    pub portal: Portal,
    pub cas: CasServer,
    pub key: SigningKey,
    pub authority: Authority,
    pub scratch: Scratch,
    clients: PasswordClients,
}

impl PasswordEnv {
    /// Starts a Cyrus with these lines that has passwords checked by the daemon, and the daemon.
    pub fn new(name: &str, lines: &[(&str, &str)]) -> Self {
        Self::start(name, |names| {
            let saslauthd = [
                ("sasl_pwcheck_method", "saslauthd"),
                ("sasl_saslauthd_path", &names.mux),
                ("sasl_sso_fallback_socket", &names.fallback),
            ];
            names.with(&[&saslauthd, lines].concat())
        })
        .with_daemon()
    }

    /// Starts a Cyrus with these lines, and no daemon.
    pub fn without_daemon(name: &str, lines: &[(&str, &str)]) -> Self {
        Self::start(name, |names| names.with(lines))
    }

    /// Starts a Cyrus with exactly the lines that `lines` returns, and no daemon.
    pub fn start(name: &str, lines: impl FnOnce(&Names) -> Vec<(String, String)>) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
        let portal = Portal::start(&authority, &cas, "portal");
        let fallback = PasswordServer::start(&authority, &USERS.map(|user| (user, SECRET)));
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let text = |path: &Path| path.display().to_string();
        let names = Names {
            mux: text(&daemon::mux(&scratch)),
            fallback: text(fallback.mux()),
            cas: cas.url(),
            ca: text(&authority.write_ca(&scratch)),
            webmail: webmail.service(),
            portal: portal.service(),
            key: text(&scratch.write("key.pem", key.pem())),
        };
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines(&names),
            services: SERVICES.to_vec(),
            ..Options::default()
        };
        Self {
            daemon: None,
            cyrus: Cyrus::start(&scratch, &authority, options),
            fallback,
            webmail,
            portal,
            cas,
            key,
            clients: PasswordClients::new(&scratch, &authority),
            authority,
            scratch,
        }
    }

    /// Starts the daemon.
    pub fn with_daemon(mut self) -> Self {
        self.daemon = Some(Daemon::start(&self.scratch, &self.cyrus));
        self
    }

    /// Creates a token of the user. Each `id` makes a different token; `padding` bytes make it
    /// longer.
    pub fn token(&self, user: &str, id: usize, padding: usize) -> String {
        self.key
            .token(TOKEN_HEADER, &self.claims(user, id, padding))
    }

    /// Returns the claims of [`PasswordEnv::token`].
    pub fn claims(&self, user: &str, id: usize, padding: usize) -> String {
        let groups = "x".repeat(padding);
        let claims = json!({
            "sub": user, "jti": id, "groups": groups, "iat": now(), "exp": now() + 600,
        });
        claims.to_string()
    }

    /// Logs alice in with a real client.
    pub fn log_in(&self, by: (PasswordClient, Service, Way), password: &str) -> Outcome {
        self.log_in_as("alice", by, password)
    }

    /// Logs a user in with a real client.
    pub fn log_in_as(
        &self,
        user: &str,
        (client, service, way): (PasswordClient, Service, Way),
        password: &str,
    ) -> Outcome {
        let login = PasswordLogin {
            service,
            way,
            user,
            password,
        };
        self.clients.log_in(client, &self.cyrus, &login)
    }

    /// Logs in by LOGIN. The first login creates the user's INBOX, without which httpd refuses the
    /// user.
    pub fn login(&self, user: &str, password: &str) -> bool {
        Imap::connect(self.cyrus.imap_port())
            .login(user, password)
            .ok
    }

    /// Waits for a log line after `mark` that contains all these words.
    #[track_caller]
    pub fn logged(&self, mark: usize, words: &[&str]) -> Line {
        let wanted = |line: &Line| words.iter().all(|word| line.text.contains(word));
        let log = self.cyrus.log();
        let line = log.wait_for_since(mark, wanted, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }
}
