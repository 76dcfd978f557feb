//! The services of a private Cyrus and its two configuration files.

use super::port::Port;
use super::scratch::become_another;
use std::path::{Path, PathBuf};

/// Directories to create below the home directory of Cyrus before master starts.
pub const DIRECTORIES: &[&str] = &[
    "conf/db",
    "conf/lock",
    "conf/log",
    "conf/msg",
    "conf/proc",
    "conf/socket",
    "conf/stats",
    "sasl",
    "sieve",
    "spool",
    "state",
];

/// A service that a private Cyrus can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// imapd
    Imap,
    /// imapd with implicit TLS
    Imaps,
    /// pop3d
    Pop3,
    /// timsieved
    Sieve,
    /// httpd
    Http,
}

impl Service {
    /// Returns the name of the entry in cyrus.conf, which is also the prefix of the service's own
    /// options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Imaps => "imaps",
            Self::Pop3 => "pop3",
            Self::Sieve => "sieve",
            Self::Http => "http",
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::Imap => "imapd",
            Self::Imaps => "imapd -s",
            Self::Pop3 => "pop3d",
            Self::Sieve => "timsieved",
            Self::Http => "httpd",
        }
    }
}

/// Settings of a private Cyrus that a test can change.
pub struct Options {
    /// The plugin to install as `libsso.so`; `None` for a stock Cyrus.
    pub plugin: Option<PathBuf>,
    /// Lines of imapd.conf, which replace the default line of the same key or are added.
    pub imapd_conf: Vec<(String, String)>,
    /// The services to run.
    pub services: Vec<Service>,
    /// The file names of the stock plugins to install.
    pub stock_plugins: Vec<&'static str>,
    /// The maximum number of processes of each service.
    pub maxchild: u32,
    /// The number of preforked processes of each service.
    pub prefork: u32,
    /// The number of connections that a process serves before it exits (`-U`).
    pub reuse: u32,
    /// Environment variables of master and its children.
    pub environment: Vec<(String, String)>,
    /// The name of every address, such as `mail.univ.fr`; none for what the host's resolver says.
    pub reverse_name: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plugin: None,
            imapd_conf: Vec::new(),
            services: vec![Service::Imap],
            stock_plugins: vec!["libplain.so", "libsasldb.so"],
            maxchild: 100,
            prefork: 0,
            // The default in Debian.
            reuse: 30,
            environment: Vec::new(),
            reverse_name: None,
        }
    }
}

/// Returns the text of imapd.conf. All paths are below `home`, and `overrides` take precedence.
pub fn imapd_conf(home: &Path, user: &str, overrides: &[(String, String)]) -> String {
    let root = become_another("root");
    let mut lines = vec![
        ("configdirectory", "{home}/conf"),
        ("defaultpartition", "default"),
        ("partition-default", "{home}/spool"),
        ("proc_path", "{home}/conf/proc"),
        ("mboxname_lockpath", "{home}/conf/lock"),
        ("duplicate_db_path", "{home}/conf/deliver.db"),
        ("statuscache_db_path", "{home}/conf/statuscache.db"),
        ("tls_sessions_db_path", "{home}/conf/tls_sessions.db"),
        ("stats_path", "{home}/conf/stats"),
        ("sievedir", "{home}/sieve"),
        ("lmtpsocket", "{home}/conf/socket/lmtp"),
        ("idlesocket", "{home}/conf/socket/idle"),
        ("notifysocket", "{home}/conf/socket/notify"),
        ("cyrus_user", user),
        ("servername", "localhost"),
        ("autocreate_quota", "0"),
        ("autocreate_post", "yes"),
        ("failedloginpause", "0"),
        ("popminpoll", "0"),
        ("allowplaintext", "yes"),
        // Required from Cyrus 3.12 on; earlier versions ignore it.
        ("allowstarttls", "yes"),
        ("httpmodules", "caldav"),
        ("tls_server_cert", "{home}/server.pem"),
        ("tls_server_key", "{home}/server.key"),
        ("sasl_pwcheck_method", "auxprop"),
        ("sasl_auxprop_plugin", "sasldb"),
        ("sasl_sasldb_path", "{home}/sasldb2"),
        ("sasl_mech_list", "PLAIN CASPT"),
        ("sasl_sso_state_dir", "{home}/state"),
    ];
    if root != "root" {
        // As whom any saslauthd of the tests runs.
        lines.push(("sasl_sso_fallback_user", &root));
    }
    with_overrides(home, &lines, overrides)
        .iter()
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect()
}

/// Replaces `{home}` in `lines` and applies `overrides`, which replace the line of the same key or
/// are added. Cyrus does not start if a key occurs twice.
pub(super) fn with_overrides(
    home: &Path,
    lines: &[(&str, &str)],
    overrides: &[(String, String)],
) -> Vec<(String, String)> {
    let home = home.to_str().expect("the path is not UTF-8");
    let mut lines: Vec<(String, String)> = lines
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.replace("{home}", home)))
        .collect();
    for (key, value) in overrides {
        match lines.iter_mut().find(|(known, _)| known == key) {
            Some(line) => line.1.clone_from(value),
            None => lines.push((key.clone(), value.clone())),
        }
    }
    lines
}

/// Returns the text of cyrus.conf with the services on their ports.
pub(super) fn cyrus_conf(home: &Path, ports: &[(Service, Port)], options: &Options) -> String {
    let services: String = ports
        .iter()
        .map(|(service, port)| {
            format!(
                "  {} cmd=\"{} -C {}/imapd.conf -U {}\" listen=\"127.0.0.1:{}\" proto=\"tcp4\" \
                 prefork={} maxchild={}\n",
                service.name(),
                service.command(),
                home.display(),
                options.reuse,
                port.number(),
                options.prefork,
                options.maxchild,
            )
        })
        .collect();
    format!("START {{\n}}\n\nSERVICES {{\n{services}}}\n\nEVENTS {{\n}}\n")
}
