//! What a private Postfix runs, and its configuration files.

use super::cyrus_conf::with_overrides;
use super::port::Port;
use super::scratch::become_another;
use std::path::{Path, PathBuf};

/// Where `scripts/unpack-packages` puts Postfix. The host's own is not looked at.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/debian");

/// The user as whom smtpd runs when the tests run as root. There is no user postfix without the
/// package; it must not be Cyrus' own, nor root or nobody.
const MAIL_OWNER: &str = "mail";

/// What must be there before master starts, below Postfix' home: root's.
pub(super) const DIRECTORIES: &[&str] = &["config", "config/sasl", "queue", "queue/pid", "sasl"];

/// The same, of the user as whom Postfix runs.
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

/// Every program that a mail passes on its way into [`main_cf`]'s discard.
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

/// What a test wants different from the defaults.
pub struct Options {
    /// The plugin to install as `libsso.so`; none for a stock Postfix.
    pub plugin: Option<PathBuf>,
    /// Lines of smtpd.conf: they replace the harness's own of the same key, or are added.
    pub smtpd_conf: Vec<(String, String)>,
    /// Parameters of smtpd, as master.cf has them behind `-o`, without blanks. By default it logs
    /// nobody in.
    pub smtpd: Vec<(String, String)>,
    /// The socket of whoever knows passwords, as saslauthd does; none for an smtpd without them.
    pub saslauthd: Option<PathBuf>,
    /// The stock plugins to install, by file name.
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

/// The user as whom Postfix runs: one of its own if we may become that, else our own account.
pub fn mail_owner() -> String {
    become_another(MAIL_OWNER)
}

/// A directory or program of the unpacked package.
pub(super) fn unpacked(name: &str) -> PathBuf {
    let path = Path::new(UNPACKED).join(name);
    assert!(
        path.exists(),
        "{}: no such file: run scripts/unpack-packages",
        path.display()
    );
    path
}

/// main.cf with every path away from the host's own Postfix; and mail goes nowhere.
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
        // The owner's group and this one must differ.
        ("setgid_group", "daemon"),
        ("default_privs", "nobody"),
        // What else of the environment gets as far as to smtpd.
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

/// master.cf: only smtpd listens, on loopback. Nobody is in a chroot jail, as the example has it.
pub(super) fn master_cf(port: &Port, options: &Options) -> String {
    let number = port.number();
    let smtpd: String = options
        .smtpd
        .iter()
        .map(|(key, value)| format!("  -o {key}={value}\n"))
        .collect();
    format!("127.0.0.1:{number} inet n - n - - smtpd\n{smtpd}{SERVICES}")
}

/// smtpd.conf, which is libsasl2's.
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
