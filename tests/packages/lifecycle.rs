//! The life cycle of the packages in a Debian system with a stock Cyrus: installation,
//! configuration from the example, use, upgrade while imapd runs, removal and purge. `make
//! test-package` runs this test, as root; it downloads the packages of that Debian.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The output of the package manager is part of the result.
#![allow(clippy::print_stdout)]

mod debian;

use debian::Debian;
use std::path::{Path, PathBuf};
use std::process::Command;
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::examples;
use test_support::imap::Imap;
use test_support::portal::Portal;
use test_support::scratch::Scratch;

const SERVICE: &str = "imap://localhost";
const PACKAGES: [&str; 2] = ["libsasl2-modules-sso", "sasl-sso"];

/// Returns the packages that `make deb` has built.
fn built_packages() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deb");
    let entries = std::fs::read_dir(directory).expect("no packages: run `make deb`");
    let paths = entries.map(|entry| entry.expect("cannot list the packages").path());
    let packages: Vec<PathBuf> = paths.collect();
    assert_eq!(packages.len(), PACKAGES.len(), "{packages:?}");
    packages
}

/// Returns the packages repacked with a higher version.
fn upgraded_packages(scratch: &Scratch) -> Vec<PathBuf> {
    let packages = built_packages();
    let mut later = Vec::new();
    for (nth, package) in packages.iter().enumerate() {
        let tree = scratch.join(format!("later-{nth}"));
        let destination = scratch.join(format!("later-{nth}.deb"));
        let version = env!("CARGO_PKG_VERSION");
        let script = format!(
            "dpkg-deb -R \"$1\" \"$2\" && sed -i 's/{version}/&+later/' \"$2/DEBIAN/control\" \
             && dpkg-deb --root-owner-group -b \"$2\" \"$3\""
        );
        let result = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args([package, &tree, &destination])
            .output()
            .expect("cannot run dpkg-deb");
        assert!(
            result.status.success(),
            "{}",
            String::from_utf8_lossy(&result.stderr)
        );
        later.push(destination);
    }
    later
}

/// Returns whether alice can log in with her password. Panics if a wrong password is accepted.
fn password_is_accepted(debian: &Debian) -> bool {
    let mut imap = Imap::connect(debian.imap_port());
    let reply = imap.authenticate("PLAIN", b"\0alice\0secret", &[]);
    let wrong = Imap::connect(debian.imap_port()).authenticate("PLAIN", b"\0alice\0wrong", &[]);
    assert!(!wrong.ok, "a wrong password is accepted");
    reply.ok
}

fn offers_tickets(debian: &Debian) -> bool {
    let mut imap = Imap::connect(debian.imap_port());
    imap.capabilities().contains(&"AUTH=CASPT".to_owned())
}

/// Logs in with a ticket and returns the connection.
fn log_in_with_ticket(debian: &Debian, ticket: &str) -> Imap {
    let mut imap = Imap::connect(debian.imap_port());
    let reply = imap.authenticate("CASPT", format!("\0\0{ticket}").as_bytes(), &[]);
    assert!(reply.ok, "{}", reply.status_line);
    imap
}

fn is_connected(imap: &mut Imap) -> bool {
    imap.command("NOOP").ok
}

/// Configures the plugin as in the example for CAS, with the names of this system's servers.
fn configure(debian: &Debian, cas: &CasServer, portal: &Portal) {
    let shipped = debian.read("/usr/share/doc/sasl-sso/examples/cas.conf");
    let here = examples::directory().join("cas.conf");
    assert_eq!(
        shipped,
        std::fs::read_to_string(here).expect("cannot read the example")
    );
    debian.write("/etc/ssl/univ-ca.pem", cas.ca_pem());
    let settings: Vec<(String, String)> = examples::lines("cas.conf")
        .into_iter()
        .chain([(
            "sasl_caspt_ca_file".to_owned(),
            "/etc/ssl/univ-ca.pem".to_owned(),
        )])
        .map(|(name, value)| {
            let value = value
                .replace("https://cas.univ.example/cas", &cas.url())
                .replace("https://webmail.univ.example/", &portal.service())
                .replace("mail.univ.example", "localhost");
            (name, value)
        })
        .collect();
    let options: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    debian.set(&options);
}

fn step(what: &str) {
    println!("--- {what}");
}

#[test]
#[ignore = "needs root, the network and minutes: make test-package"]
fn packages_install_upgrade_and_purge_without_traces() {
    let scratch = Scratch::new("lifecycle");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let portal = Portal::start(&authority, &cas, "webmail");

    step("before: a Debian system with Cyrus and passwords");
    let mut debian = Debian::new(&scratch);
    debian.start_cyrus();
    assert!(password_is_accepted(&debian));
    let files_before = debian.files();
    let conf_before = debian.read("/etc/imapd.conf");

    step("installed: no mechanism is offered, no file has changed");
    debian.install(&built_packages());
    assert!(password_is_accepted(&debian));
    debian.restart_cyrus();
    assert!(password_is_accepted(&debian) && !offers_tickets(&debian));
    assert_eq!(debian.read("/etc/imapd.conf"), conf_before);
    let enabled = debian.run("find /etc/systemd -name '*sasl-sso*'");
    assert_eq!(enabled, "", "the units are enabled");
    println!("{}", debian.run("sasl-sso --version && sasl-sso check"));

    step("configured: tickets and passwords are accepted");
    configure(&debian, &cas, &portal);
    println!("{}", debian.run("sasl-sso check"));
    debian.restart_cyrus();
    let ticket = portal.proxy_ticket("alice", SERVICE);
    let mut open = log_in_with_ticket(&debian, &ticket);
    assert!(password_is_accepted(&debian) && offers_tickets(&debian));
    assert_eq!(cas.validations(), 1);

    step("upgraded while imapd runs: connections and sessions survive");
    debian.install(&upgraded_packages(&scratch));
    let versions = debian.run("dpkg-query -W -f '${Version} ' libsasl2-modules-sso sasl-sso");
    assert_eq!(versions.matches("+later").count(), 2, "{versions}");
    assert!(is_connected(&mut open));
    log_in_with_ticket(&debian, &ticket);
    debian.restart_cyrus();
    let mut open = log_in_with_ticket(&debian, &ticket);
    assert_eq!(
        cas.validations(),
        1,
        "the session did not survive the upgrade"
    );
    log_in_with_ticket(&debian, &portal.proxy_ticket("alice", SERVICE));
    assert_eq!(cas.validations(), 2);
    assert!(password_is_accepted(&debian));

    step("removed, with the options left in place: passwords are accepted");
    println!("{}", debian.run("dpkg -r sasl-sso libsasl2-modules-sso"));
    assert!(is_connected(&mut open) && password_is_accepted(&debian));
    debian.restart_cyrus();
    assert!(password_is_accepted(&debian) && !offers_tickets(&debian));
    assert!(debian.path("/run/cyrus/sasl-sso").exists());

    step("purged: no file is left");
    println!("{}", debian.run("dpkg -P sasl-sso libsasl2-modules-sso"));
    assert!(password_is_accepted(&debian));
    std::fs::remove_file(debian.path("/etc/ssl/univ-ca.pem"))
        .expect("cannot remove the CA certificate");
    // Files that Cyrus itself changes while it runs.
    let is_of_cyrus = |path: &String| {
        path.starts_with("/run/cyrus/") && !path.contains("sasl-sso") || path.ends_with(".pid")
    };
    let mut files_after = debian.files();
    let mut files_before = files_before;
    files_after.retain(|path, _| !is_of_cyrus(path));
    files_before.retain(|path, _| !is_of_cyrus(path));
    assert_eq!(files_after, files_before);
}
