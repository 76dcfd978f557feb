//! The services of a private Postfix and its configuration files.

use super::cyrus_conf::with_overrides;
use super::port::Port;
use super::scratch::become_another;
use std::path::{Path, PathBuf};

/// Where `scripts/unpack-packages` unpacks Postfix. A Postfix of the host is not used.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian");

/// The user that smtpd runs as when the tests run as root. The user postfix exists only with the
/// package installed. Postfix rejects root and nobody, and Cyrus must be another user.
const MAIL_OWNER: &str = "mail";

/// Directories, owned by root, to create below the home directory of Postfix before master starts.
pub(super) const DIRECTORIES: &[&str] = &["config", "config/sasl", "queue", "queue/pid", "sasl"];

/// Directories to create that the user of Postfix owns.
pub(super) const OWN_DIRECTORIES: &[&str] = &[
    "data",
    "queue/active",
    "queue/bounce",
    "queue/corrupt",
    "queue/defer",
    "queue/deferred",
    "queue/flush",
    "queue/hold",
    "queue/incoming",
    "queue/private",
    "queue/public",
    "queue/saved",
    "queue/trace",
];

/// All services that a mail passes on its way to the discard transport of [`main_cf`].
const SERVICES: &str = "\
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
tlsmgr    unix - - n 1000? 1 tlsmgr
anvil     unix - - n - 1 anvil
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
";

/// Settings of a private Postfix that a test can change.
pub struct Options {
    /// The plugin to install as `libsso.so`; `None` for a stock Postfix.
    pub plugin: Option<PathBuf>,
    /// Lines of smtpd.conf, which replace the default line of the same key or are added.
    pub smtpd_conf: Vec<(String, String)>,
    /// Parameters of smtpd for `-o` in master.cf, without spaces. SASL is off by default.
    pub smtpd: Vec<(String, String)>,
    /// The socket of the saslauthd that checks passwords; `None` disables passwords.
    pub saslauthd: Option<PathBuf>,
    /// The file names of the stock plugins to install.
    pub stock_plugins: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plugin: None,
            smtpd_conf: Vec::new(),
            smtpd: Vec::new(),
            saslauthd: None,
            stock_plugins: vec!["libplain.so", "liblogin.so"],
        }
    }
}

/// Returns the user that Postfix runs as: `mail` for root, otherwise the current user.
pub fn mail_owner() -> String {
    become_another(MAIL_OWNER)
}

/// Returns the path of a directory or program of the unpacked package.
pub(super) fn unpacked(name: &str) -> PathBuf {
    let path = Path::new(UNPACKED).join(name);
    assert!(
        path.exists(),
        "{}: no such file: run scripts/unpack-packages",
        path.display()
    );
    path
}

/// Returns the text of main.cf. All paths are below `home` or in the unpacked package, and all mail
/// is discarded.
pub(super) fn main_cf(home: &Path) -> String {
    let owner = mail_owner();
    let sbin = unpacked("usr/sbin").display().to_string();
    let daemons = unpacked("usr/lib/postfix/sbin").display().to_string();
    let libraries = unpacked("usr/lib/postfix").display().to_string();
    let lines = [
        ("compatibility_level", "3.6"),
        ("config_directory", "{home}/config"),
        ("queue_directory", "{home}/queue"),
        ("data_directory", "{home}/data"),
        ("command_directory", &sbin),
        ("daemon_directory", &daemons),
        ("shlib_directory", &libraries),
        ("meta_directory", "{home}/config"),
        ("mail_owner", &owner),
        // Postfix requires this group to differ from the owner's group.
        ("setgid_group", "daemon"),
        ("default_privs", "nobody"),
        // Environment variables that master passes on to smtpd.
        (
            "import_environment",
            "MAIL_CONFIG LANG=C LD_LIBRARY_PATH LD_PRELOAD SASL_PATH SSO_TEST_SYSLOG",
        ),
        ("myhostname", "localhost"),
        ("inet_protocols", "ipv4"),
        ("disable_dns_lookups", "yes"),
        ("smtpd_peername_lookup", "no"),
        ("mydestination", "localhost"),
        ("local_recipient_maps", ""),
        ("alias_maps", ""),
        ("local_transport", "discard:"),
        ("default_transport", "discard:"),
        ("smtpd_tls_cert_file", "{home}/server.pem"),
        ("smtpd_tls_key_file", "{home}/server.key"),
        ("cyrus_sasl_config_path", "{home}/config/sasl"),
    ];
    with_overrides(home, &lines, &[])
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}

/// Returns the text of master.cf. Only smtpd listens, on loopback. No service runs in a chroot, as
/// in the configuration example.
pub(super) fn master_cf(port: &Port, options: &Options) -> String {
    let number = port.number();
    let smtpd: String = options
        .smtpd
        .iter()
        .map(|(key, value)| format!("  -o {key}={value}\n"))
        .collect();
    format!("127.0.0.1:{number} inet n - n - - smtpd\n{smtpd}{SERVICES}")
}

/// Returns the text of smtpd.conf, the configuration file of libsasl2.
pub(super) fn smtpd_conf(home: &Path, options: &Options) -> String {
    let mut lines = vec![
        ("mech_list", "OAUTHBEARER XOAUTH2"),
        ("sso_state_dir", "{home}/data/sasl-sso"),
    ];
    let socket = options
        .saslauthd
        .as_ref()
        .map(|path| path.display().to_string());
    if let Some(socket) = &socket {
        lines[0].1 = "PLAIN LOGIN OAUTHBEARER XOAUTH2";
        lines.push(("pwcheck_method", "saslauthd"));
        lines.push(("saslauthd_path", socket));
    }
    with_overrides(home, &lines, &options.smtpd_conf)
        .iter()
        .map(|(key, value)| format!("{key}: {value}\n"))
        .collect()
}
