//! The servers: a Cyrus with the plugin, the daemon, a CAS, an OpenID provider, and who knows
//! ordinary passwords.

use super::login::{Way, whose};
use super::login::{connect, log_in, mark_of};
use crate::harness::authority::Authority;
use crate::harness::cas::CasServer;
use crate::harness::cyrus::{Cyrus, Options};
use crate::harness::daemon::{self, Daemon};
use crate::harness::oidc::{AUDIENCE, OidcProvider};
use crate::harness::password_server::PasswordServer;
use crate::harness::portal::Portal;
use crate::harness::scratch::Scratch;
use crate::harness::syslog::Line;
use crate::libsasl2;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

/// The service of tickets here.
pub const IMAP: &str = "imap://localhost";

/// How many users there are.
pub const USERS: usize = 24;

/// The last of them have ordinary passwords as well.
const WITH_PASSWORDS: usize = 4;

/// How soon keys are fetched, and known tokens verified, again.
pub const REFRESH: Duration = Duration::from_secs(5);

/// What is ended first stands first.
pub struct Site {
    pub daemon: Mutex<Option<Daemon>>,
    pub cyrus: RwLock<Cyrus>,
    pub port: u16,
    pub conf: PathBuf,
    _behind: PasswordServer,
    /// The webmail, and a portal that nobody trusts.
    pub webmail: Portal,
    pub stranger: Portal,
    pub cas: RwLock<CasServer>,
    pub issuer: RwLock<OidcProvider>,
    pub issuer_name: String,
    /// How often its keys were rotated.
    pub generation: AtomicUsize,
    pub scratch: Scratch,
}

impl Site {
    /// All of them, up and ready, with no session yet.
    pub fn start() -> Self {
        let scratch = Scratch::new("soak");
        let authority = Authority::new();
        let cas = CasServer::start_with(&scratch, &authority, Duration::from_secs(7_200));
        let issuer = OidcProvider::start(&scratch, &authority);
        let webmail = Portal::start(&authority, &cas, "webmail");
        let stranger = Portal::start(&authority, &cas, "stranger");
        let passwords: Vec<(String, String)> = users_with_passwords()
            .map(|user| (user.clone(), password_of(&user)))
            .collect();
        let passwords: Vec<(&str, &str)> = passwords
            .iter()
            .map(|(user, password)| (user.as_str(), password.as_str()))
            .collect();
        let behind = PasswordServer::start(&authority, &passwords);
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
                behind.mux().display().to_string(),
            ),
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_ca_file", ca.clone()),
            ("sasl_caspt_proxies", webmail.pgt_url()),
            // The machine may have other things to do.
            ("sasl_caspt_timeout", "15".to_owned()),
            ("sasl_jwt_issuer", issuer.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_require", "scope=imap".to_owned()),
            ("sasl_jwt_ca_file", ca),
            ("sasl_jwt_timeout", "15".to_owned()),
            ("sasl_jwt_keys_refresh", REFRESH.as_secs().to_string()),
        ];
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        let site = Self {
            daemon: Mutex::new(Some(Daemon::start(&scratch, &cyrus))),
            port: cyrus.imap_port(),
            conf: cyrus.imapd_conf(),
            cyrus: RwLock::new(cyrus),
            _behind: behind,
            webmail,
            stranger,
            cas: RwLock::new(cas),
            issuer_name: issuer.issuer(),
            issuer: RwLock::new(issuer),
            generation: AtomicUsize::new(0),
            scratch,
        };
        site.make_mailboxes();
        site
    }

    /// The generation of the keys that sign now.
    pub fn generation(&self) -> usize {
        self.generation.load(Ordering::SeqCst)
    }

    /// The lines of the log since `mark`, and the new mark.
    pub fn log_since(&self, mark: usize) -> (Vec<Line>, usize) {
        let cyrus = read(&self.cyrus);
        let lines = cyrus.log().since(mark);
        let mark = mark + lines.len();
        (lines, mark)
    }

    /// Each user has a mailbox that tells whose mailboxes one sees.
    fn make_mailboxes(&self) {
        let make = |user: String| {
            let ticket = self.webmail.proxy_ticket(&user, IMAP);
            let mut imap = connect(self.port).expect("imapd");
            let reply = log_in(&mut imap, Way::Caspt, &user, &ticket);
            assert!(reply.ok, "{reply:?}\n{}", read(&self.cyrus).log().tail());
            let made = imap.command(&format!("CREATE INBOX.{}", mark_of(&user)));
            assert!(made.ok, "{made:?}");
            assert_eq!(whose(&mut imap), Some(vec![user]));
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

/// The name of a user.
pub fn user(number: usize) -> String {
    format!("user{number}")
}

/// Those who have an ordinary password.
pub fn users_with_passwords() -> impl Iterator<Item = String> {
    (USERS - WITH_PASSWORDS..USERS).map(user)
}

/// It is none of ours, though it looks a little like what is.
pub fn password_of(user: &str) -> String {
    format!("ST-Pauli and {user}")
}

/// Locks for reading, whatever became of others.
pub fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// The same for writing.
pub fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
