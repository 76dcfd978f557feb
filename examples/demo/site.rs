//! A university on one machine: a CAS server, a webmail that CAS knows, an application with a key
//! of its own, Cyrus IMAP with the plugin, and the daemon for what imapd takes for passwords.

use super::application::Application;
use super::harness::authority::Authority;
use super::harness::cas::CasServer;
use super::harness::cyrus::{Cyrus, Options};
use super::harness::daemon::{self, Daemon};
use super::harness::portal::Portal;
use super::harness::scratch::Scratch;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What proxy tickets are asked for: the mail server, as the plugin calls it by default.
pub const SERVICE: &str = "imap://localhost";

/// Everything that runs. The servers end in this order, and then the directory goes.
pub struct Site {
    /// `sasl-sso serve`, which imapd takes for saslauthd.
    pub daemon: Daemon,
    /// Cyrus IMAP.
    pub cyrus: Cyrus,
    /// What CAS, the webmail's tickets and the application's tokens are to the plugin and the
    /// daemon, and where the daemon is: lines of imapd.conf.
    pub settings: Vec<(String, String)>,
    /// The application that signs tokens.
    pub application: Application,
    /// The webmail, as far as it deals with CAS.
    pub webmail: Portal,
    cas: Mutex<CasServer>,
    /// The directory where all of it lives.
    pub scratch: Scratch,
}

impl Site {
    /// Starts it.
    pub fn start(plugin: &Path) -> Self {
        let scratch = Scratch::new("demo");
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let webmail = Portal::start(&authority, &cas, "webmail");
        let ca_file = authority.write_ca(&scratch);
        let application = Application::new();
        let cas_settings = [
            (
                "sasl_mech_list",
                "PLAIN CASPT OAUTHBEARER XOAUTH2".to_owned(),
            ),
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_ca_file", ca_file.display().to_string()),
            ("sasl_caspt_proxies", webmail.pgt_url()),
        ];
        let mux = daemon::mux(&scratch).display().to_string();
        let daemon_settings = [
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            ("sasl_saslauthd_path", mux),
        ];
        let settings: Vec<(String, String)> = cas_settings
            .into_iter()
            .chain(application.settings(&scratch))
            .chain(daemon_settings)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let options = Options {
            plugin: Some(plugin.to_owned()),
            imapd_conf: settings.clone(),
            // A process for each connection: none can know a ticket from a login before.
            reuse: 1,
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            settings,
            application,
            webmail,
            cas: Mutex::new(cas),
            scratch,
        }
    }

    /// The CAS server, which anyone may stop and start.
    pub fn cas(&self) -> MutexGuard<'_, CasServer> {
        self.cas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new proxy ticket of the webmail. Its user logs in to CAS first, unless that is done.
    pub fn ticket(&self, user: &str) -> String {
        self.webmail.proxy_ticket(user, SERVICE)
    }
}
