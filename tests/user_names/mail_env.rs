//! A Cyrus whose mailboxes name their owners, and the ways to log in to it.

use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::daemon::{self, Daemon};
use test_support::explaining::{Explained, explain_json};
use test_support::faulty_cas::FaultyCas;
use test_support::imap::{Imap, Reply};
use test_support::libsasl2::{self, site::PROXY};
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// How a credential reaches the mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A ticket by CASPT.
    Caspt,
    /// A token by PLAIN, in the process.
    Plain,
    /// A token by LOGIN, through the daemon.
    Login,
    /// A token by OAUTHBEARER.
    OAuthBearer,
}

pub const WAYS: [Way; 4] = [Way::Caspt, Way::Plain, Way::Login, Way::OAuthBearer];

/// The principal of a credential, and the names that the client sends.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The name that the SSO server vouches for.
    pub principal: &'a str,
    /// The authentication identity: of CASPT and PLAIN, or the name of LOGIN.
    pub authcid: Option<&'a str>,
    /// The authorization identity of CASPT, PLAIN and OAUTHBEARER.
    pub authzid: Option<&'a str>,
}

/// The result of a successful login.
#[derive(Debug)]
pub struct Opened {
    /// The user in imapd's log line.
    pub user: String,
    /// The owners that the messages in the INBOX name.
    pub owners: Vec<String>,
}

/// Cyrus, the daemon, a CAS, and a key for tokens.
pub struct MailEnv {
    // Dropped before Cyrus.
    _daemon: Daemon,
    pub cyrus: Cyrus,
    cas: FaultyCas,
    _scratch: Scratch,
    key: SigningKey,
    count: AtomicUsize,
}

impl MailEnv {
    /// Starts imapd with these additional lines of imapd.conf.
    pub fn new(name: &str, lines: &[(&str, &str)]) -> Self {
        Self::with(name, lines, &[Service::Imap], "localhost")
    }

    /// Starts these services. All addresses resolve to this name.
    pub fn with(
        name: &str,
        lines: &[(&str, &str)],
        services: &[Service],
        reverse_name: &'static str,
    ) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let text = |path: std::path::PathBuf| path.display().to_string();
        let (mux, ca) = (
            text(daemon::mux(&scratch)),
            text(authority.write_ca(&scratch)),
        );
        let (keys, url) = (text(scratch.write("key.pem", key.pem())), cas.url());
        let mut all = vec![
            ("sasl_mech_list", "PLAIN CASPT OAUTHBEARER"),
            ("sasl_pwcheck_method", "saslauthd"),
            ("sasl_saslauthd_path", &mux),
            ("sasl_sso_plain", "yes"),
            ("sasl_jwt_keys", &keys),
            ("sasl_jwt_issuer", "*"),
            ("sasl_jwt_audience", "*"),
            ("sasl_caspt_url", &url),
            ("sasl_caspt_ca_file", &ca),
            ("sasl_caspt_proxies", PROXY),
            ("sasl_caspt_timeout", "20"),
            ("sasl_caspt_rate_limit", "60000"),
            // Services other than imapd log through libsasl2.
            ("sasl_log_level", "7"),
        ];
        all.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: all.into_iter().map(own).collect(),
            services: services.to_vec(),
            reverse_name: Some(reverse_name),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            _daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            cas,
            _scratch: scratch,
            key,
            count: AtomicUsize::new(0),
        }
    }

    /// A token for a principal, different each time.
    pub fn token(&self, principal: &str) -> String {
        let (now, id) = (now(), self.count.fetch_add(1, Ordering::Relaxed));
        let claims = json!({"sub": principal, "iat": now, "exp": now + 600, "jti": id});
        let header = r#"{"alg":"HS256","typ":"JWT"}"#;
        self.key.token(header, &claims.to_string())
    }

    /// A ticket for a principal, which CAS accepts once.
    pub fn ticket(&self, principal: &str) -> String {
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let ticket = format!("PT-{id}-names");
        self.cas.arm(&ticket, principal, &[PROXY]);
        ticket
    }

    /// Logs in, and returns the connection and the reply.
    pub fn authenticate(&self, way: Way, presented: Presented<'_>) -> (Imap, Reply) {
        let Presented {
            principal,
            authcid,
            authzid,
        } = presented;
        let mut imap = Imap::connect(self.cyrus.imap_port());
        let authzid = authzid.unwrap_or_default();
        let reply = match way {
            Way::Caspt => {
                let ticket = self.ticket(principal);
                let authcid = authcid.unwrap_or_default();
                let message = format!("{authzid}\0{authcid}\0{ticket}");
                imap.authenticate("CASPT", message.as_bytes(), &[b"\x01"])
            }
            Way::Plain => {
                let token = self.token(principal);
                let authcid = authcid.unwrap_or(principal);
                let message = format!("{authzid}\0{authcid}\0{token}");
                imap.authenticate("PLAIN", message.as_bytes(), &[])
            }
            Way::Login => imap.login(authcid.unwrap_or(principal), &self.token(principal)),
            Way::OAuthBearer => {
                let token = self.token(principal);
                let header = match authzid {
                    "" => "n,,".to_owned(),
                    name => format!("n,a={},", name.replace('=', "=3D").replace(',', "=2C")),
                };
                let message = format!("{header}\x01auth=Bearer {token}\x01\x01");
                imap.authenticate("OAUTHBEARER", message.as_bytes(), &[b"\x01"])
            }
        };
        (imap, reply)
    }

    /// Logs in and reads the INBOX. A new INBOX gets a message that names `owner`.
    pub fn log_in(&self, way: Way, presented: Presented<'_>, owner: &str) -> Option<Opened> {
        let mark = self.cyrus.log().mark();
        let (mut imap, reply) = self.authenticate(way, presented);
        if !reply.ok {
            return None;
        }
        let user = self.logged_in(mark, &reply);
        let has_inbox = imap.command("SELECT INBOX").ok;
        let mut owners = owners(&mut imap);
        // imapd accepts some names for which it creates no INBOX.
        if has_inbox && owners.is_empty() {
            append(&mut imap, owner);
            owners = self::owners(&mut imap);
        }
        for command in ["LIST \"\" *", "STATUS INBOX (MESSAGES)", "LOGOUT"] {
            let reply = imap.command(command);
            let is_expected = reply.ok || !has_inbox && command.starts_with("STATUS");
            assert!(
                is_expected,
                "{user}: {command}: {reply:?}\n{}",
                self.cyrus.log().tail()
            );
        }
        Some(Opened { user, owners })
    }

    /// The user in imapd's log line about the login of this reply.
    pub fn logged_in(&self, mark: usize, reply: &Reply) -> String {
        const LOGGED_IN: &str = " User logged in";
        let is_ours =
            |line: &Line| Some(line.pid) == reply.session_pid && line.text.contains(LOGGED_IN);
        let log = self.cyrus.log();
        let line = log.wait_for_since(mark, is_ours, PATIENCE);
        let line = line.unwrap_or_else(|| panic!("no login is logged\n{}", log.tail()));
        // login: localhost [127.0.0.1] USER MECHANISM User logged in SESSIONID=<…>
        let before = line.text.split(LOGGED_IN).next().unwrap_or_default();
        let user = before.rsplit(' ').nth(1);
        user.expect("a user in the log").to_owned()
    }

    /// Gives each of these users an INBOX with a message that names them, with tokens of their own.
    pub fn mark_inboxes(&self, users: &[&str]) {
        for user in users {
            let presented = Presented {
                principal: user,
                authcid: None,
                authzid: None,
            };
            let opened = self.log_in(Way::OAuthBearer, presented, user);
            let opened = opened.unwrap_or_else(|| panic!("{user}\n{}", self.cyrus.log().tail()));
            assert_eq!(
                (opened.user.as_str(), &opened.owners[..]),
                (*user, &[(*user).to_owned()][..])
            );
        }
    }

    /// The output of `sasl-sso explain` for a new token of a principal.
    pub fn explain(&self, principal: &str, arguments: &[&str]) -> Explained {
        explain_json(&self.cyrus.imapd_conf(), &self.token(principal), arguments)
    }

    /// Asserts that no process of Cyrus was ended by a signal or aborted.
    #[track_caller]
    pub fn assert_no_process_aborted(&self, mark: usize) {
        let signs = [
            "signaled to death",
            "assertion failed",
            "Internal error",
            "exited, status",
            "Fatal error",
        ];
        let lines = self.cyrus.log().since(mark);
        let is_sign = |line: &&Line| signs.iter().any(|sign| line.text.contains(sign));
        let aborted: Vec<&Line> = lines.iter().filter(is_sign).collect();
        assert!(aborted.is_empty(), "{aborted:?}");
    }
}

/// The owners that the messages in the selected INBOX name.
fn owners(imap: &mut Imap) -> Vec<String> {
    let reply = imap.command("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]");
    let subject = |line: &String| line.strip_prefix("Subject: owner ").map(str::to_owned);
    reply.untagged.iter().filter_map(subject).collect()
}

/// Appends a message that names the owner.
fn append(imap: &mut Imap, owner: &str) {
    let message = format!("Subject: owner {owner}\r\n\r\nThis is a test.\r\n");
    let command = format!(
        "append APPEND INBOX {{{}+}}\r\n{message}\r\n",
        message.len()
    );
    imap.send(command.as_bytes());
    let reply = imap.finish("append", &[]);
    assert!(reply.ok, "{owner}: {reply:?}");
}
