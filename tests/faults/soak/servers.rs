//! The servers of the soak test: a Cyrus with the plugin, the daemon, a CAS server, an OpenID
//! provider, and a server for ordinary passwords.

use super::login::{LoginMethod, mailbox_owners};
use super::login::{connect, log_in, marker_mailbox};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon};
use test_support::libsasl2;
use test_support::oidc::{AUDIENCE, OidcProvider};
use test_support::password_server::PasswordServer;
use test_support::portal::Portal;
use test_support::scratch::Scratch;
use test_support::syslog::Line;

/// The service that tickets are issued for.
pub const IMAP: &str = "imap://localhost";

/// Number of users.
pub const USERS: usize = 24;

/// Number of users, the last ones, who also have an ordinary password.
const PASSWORD_USERS: usize = 4;

/// Interval after which keys are fetched and known tokens are revalidated (`jwt_keys_refresh`).
pub const KEYS_REFRESH: Duration = Duration::from_secs(5);

/// The running servers. They are stopped in the order of the fields.
pub struct SoakServers {
    pub daemon: Mutex<Option<Daemon>>,
    pub cyrus: RwLock<Cyrus>,
    pub port: u16,
    pub conf: PathBuf,
    _password_server: PasswordServer,
    /// The webmail, whose proxy callback is allowed by `caspt_proxies`.
    pub webmail: Portal,
    /// A portal that `caspt_proxies` does not allow.
    pub untrusted_portal: Portal,
    pub cas: RwLock<CasServer>,
    pub issuer: RwLock<OidcProvider>,
    pub issuer_name: String,
    /// Number of key rotations of the issuer.
    pub generation: AtomicUsize,
    pub scratch: Scratch,
}

impl SoakServers {
    /// Starts all servers, with an empty session cache, and creates the mailboxes.
    pub fn start() -> Self {
        let scratch = Scratch::new("soak");
        let authority = Authority::new();
        let cas = CasServer::start_with(&scratch, &authority, Duration::from_secs(7_200));
        let issuer = OidcProvider::start(&scratch, &authority);
        let webmail = Portal::start(&authority, &cas, "webmail");
        let untrusted_portal = Portal::start(&authority, &cas, "untrusted");
        let passwords: Vec<(String, String)> = users_with_passwords()
            .map(|user| (user.clone(), password_of(&user)))
            .collect();
        let passwords: Vec<(&str, &str)> = passwords
            .iter()
            .map(|(user, password)| (user.as_str(), password.as_str()))
            .collect();
        let password_server = PasswordServer::start(&authority, &passwords);
        let ca = authority.write_ca(&scratch).display().to_string();
        let lines = [
            (
                "sasl_mech_list",
                "PLAIN CASPT OAUTHBEARER XOAUTH2".to_owned(),
            ),
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            (
                "sasl_saslauthd_path",
                daemon::mux(&scratch).display().to_string(),
            ),
            (
                "sasl_sso_fallback_socket",
                password_server.mux().display().to_string(),
            ),
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_ca_file", ca.clone()),
            ("sasl_caspt_proxies", webmail.pgt_url()),
            // The machine may be heavily loaded.
            ("sasl_caspt_timeout", "15".to_owned()),
            ("sasl_jwt_issuer", issuer.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_require", "scope=imap".to_owned()),
            ("sasl_jwt_ca_file", ca),
            ("sasl_jwt_timeout", "15".to_owned()),
            ("sasl_jwt_keys_refresh", KEYS_REFRESH.as_secs().to_string()),
        ];
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        let servers = Self {
            daemon: Mutex::new(Some(Daemon::start(&scratch, &cyrus))),
            port: cyrus.imap_port(),
            conf: cyrus.imapd_conf(),
            cyrus: RwLock::new(cyrus),
            _password_server: password_server,
            webmail,
            untrusted_portal,
            cas: RwLock::new(cas),
            issuer_name: issuer.issuer(),
            issuer: RwLock::new(issuer),
            generation: AtomicUsize::new(0),
            scratch,
        };
        servers.make_mailboxes();
        servers
    }

    /// Returns the generation of the current signing keys.
    pub fn generation(&self) -> usize {
        self.generation.load(Ordering::SeqCst)
    }

    /// Returns the log lines since `mark` and the new mark.
    pub fn log_since(&self, mark: usize) -> (Vec<Line>, usize) {
        let cyrus = read(&self.cyrus);
        let lines = cyrus.log().since(mark);
        let mark = mark + lines.len();
        (lines, mark)
    }

    /// Creates a mailbox for each user whose name identifies the user.
    fn make_mailboxes(&self) {
        let make = |user: String| {
            let ticket = self.webmail.proxy_ticket(&user, IMAP);
            let mut imap = connect(self.port).expect("cannot connect to imapd");
            let reply = log_in(&mut imap, LoginMethod::Caspt, &user, &ticket);
            assert!(reply.ok, "{reply:?}\n{}", read(&self.cyrus).log().tail());
            let made = imap.command(&format!("CREATE INBOX.{}", marker_mailbox(&user)));
            assert!(made.ok, "{made:?}");
            assert_eq!(mailbox_owners(&mut imap), Some(vec![user]));
            imap.logout();
        };
        let all: Vec<usize> = (0..USERS).collect();
        thread::scope(|scope| {
            for some in all.chunks(USERS / 4) {
                scope.spawn(move || some.iter().copied().map(user).for_each(make));
            }
        });
    }
}

/// Returns the name of a user.
pub fn user(number: usize) -> String {
    format!("user{number}")
}

/// Returns the users who have an ordinary password.
pub fn users_with_passwords() -> impl Iterator<Item = String> {
    (USERS - PASSWORD_USERS..USERS).map(user)
}

/// Returns the password of a user, which resembles a ticket but is not one.
pub fn password_of(user: &str) -> String {
    format!("ST-Pauli and {user}")
}

/// Locks for reading and ignores poisoning.
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing and ignores poisoning.
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
