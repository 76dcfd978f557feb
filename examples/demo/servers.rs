//! The servers of the demonstration: a CAS server, a webmail that CAS trusts, an application with
//! its own key, Cyrus IMAP with the plugin, and the daemon for passwords of imapd.

use super::application::Application;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon};
use test_support::portal::Portal;
use test_support::scratch::Scratch;

/// The service that proxy tickets are issued for: the default of the plugin for the mail server.
pub const SERVICE: &str = "imap://localhost";

/// The running servers. They are stopped in the order of the fields; then the directory is removed.
pub struct DemoServers {
    /// `sasl-sso serve`, which imapd uses as its saslauthd.
    pub daemon: Daemon,
    /// Cyrus IMAP.
    pub cyrus: Cyrus,
    /// The lines of imapd.conf for CAS, the webmail's tickets, the application's tokens and the
    /// daemon.
    pub settings: Vec<(String, String)>,
    /// The application that signs tokens.
    pub application: Application,
    /// The webmail, reduced to its part in the CAS protocol.
    pub webmail: Portal,
    cas: Mutex<CasServer>,
    /// The directory of all servers.
    pub scratch: Scratch,
}

impl DemoServers {
    /// Starts the servers.
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
            // Each connection gets a new process, so that no login uses the memory tier.
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

    /// Returns the CAS server, which the control socket may stop and start.
    pub fn cas(&self) -> MutexGuard<'_, CasServer> {
        self.cas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Obtains a new proxy ticket through the webmail, logging the user in to CAS first if
    /// necessary.
    pub fn ticket(&self, user: &str) -> String {
        self.webmail.proxy_ticket(user, SERVICE)
    }
}
