//! A site whose clients can only send a password: a Cyrus that takes tickets of a real CAS and
//! tokens, two applications that get tickets, and who knows ordinary passwords.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
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

/// The service of a ticket if one name stands for all.
pub const IMAP: &str = "imap://localhost";

/// Whose ordinary password [`SECRET`] is.
pub const USERS: [&str; 2] = ["alice", "bert"];
pub const SECRET: &str = "an-ordinary-one";

/// The header of the tokens.
pub const TOKEN_HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// One for all, so that what one service knows the others know.
pub const ONE_SERVICE: (&str, &str) = ("sasl_caspt_service", IMAP);

const SERVICES: [Service; 5] = [
    Service::Imap,
    Service::Imaps,
    Service::Pop3,
    Service::Sieve,
    Service::Http,
];

/// What the configuration of the site names.
pub struct Names {
    /// The daemon's socket, and that of who knows ordinary passwords.
    pub mux: String,
    pub behind: String,
    /// The CAS, and the authority of its certificate.
    pub cas: String,
    pub ca: String,
    /// The two applications, up to a slash.
    pub webmail: String,
    pub portal: String,
    /// The file of the key of [`PasswordSite::token`].
    pub key: String,
}

impl Names {
    /// What the site has for tickets and tokens, with these lines on top.
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
            // The services other than imapd leave the log to libsasl2, which keeps most to itself.
            ("sasl_log_level", "7"),
        ];
        all.retain(|(key, _)| lines.iter().all(|(other, _)| other != key));
        all.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        all.into_iter().map(own).collect()
    }
}

/// The site. What is ended first stands first.
pub struct PasswordSite {
    pub daemon: Option<Daemon>,
    pub cyrus: Cyrus,
    pub behind: PasswordServer,
    pub webmail: PhpWebmail,
    pub portal: Portal,
    pub cas: CasServer,
    pub key: SigningKey,
    pub authority: Authority,
    pub scratch: Scratch,
    clients: PasswordClients,
}

impl PasswordSite {
    /// A Cyrus with these lines that asks the daemon about passwords, and the daemon.
    pub fn new(name: &str, lines: &[(&str, &str)]) -> Self {
        Self::start(name, |names| {
            let asks = [
                ("sasl_pwcheck_method", "saslauthd"),
                ("sasl_saslauthd_path", &names.mux),
                ("sasl_sso_fallback_socket", &names.behind),
            ];
            names.with(&[&asks, lines].concat())
        })
        .with_daemon()
    }

    /// A Cyrus with these lines, and no daemon.
    pub fn without_daemon(name: &str, lines: &[(&str, &str)]) -> Self {
        Self::start(name, |names| names.with(lines))
    }

    /// A Cyrus with nothing but the lines that a site with these names has, and no daemon.
    pub fn start(name: &str, lines: impl FnOnce(&Names) -> Vec<(String, String)>) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
        let portal = Portal::start(&authority, &cas, "portal");
        let behind = PasswordServer::start(&authority, &USERS.map(|user| (user, SECRET)));
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let text = |path: &Path| path.display().to_string();
        let names = Names {
            mux: text(&daemon::mux(&scratch)),
            behind: text(behind.mux()),
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
            behind,
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

    /// A token of the user's; each `id` makes another one, `padding` a longer one.
    pub fn token(&self, user: &str, id: usize, padding: usize) -> String {
        self.key
            .token(TOKEN_HEADER, &self.claims(user, id, padding))
    }

    /// The claims of [`PasswordSite::token`].
    pub fn claims(&self, user: &str, id: usize, padding: usize) -> String {
        let groups = "x".repeat(padding);
        let claims = json!({
            "sub": user, "jti": id, "groups": groups, "iat": now(), "exp": now() + 600,
        });
        claims.to_string()
    }

    /// Alice's login by a real client.
    pub fn log_in(&self, by: (PasswordClient, Service, Way), password: &str) -> Outcome {
        self.log_in_as("alice", by, password)
    }

    /// Anybody's.
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

    /// A login by LOGIN; it makes the user's INBOX, without which httpd has nothing to show.
    pub fn login(&self, user: &str, password: &str) -> bool {
        Imap::connect(self.cyrus.imap_port())
            .login(user, password)
            .ok
    }

    /// A line of the log since `mark` that has all these words in it.
    #[track_caller]
    pub fn logged(&self, mark: usize, words: &[&str]) -> Line {
        let wanted = |line: &Line| words.iter().all(|word| line.text.contains(word));
        let log = self.cyrus.log();
        let line = log.wait_for_since(mark, wanted, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }
}
