//! The life of the packages in a Debian with a stock Cyrus: installed, configured by the example,
//! used, upgraded under a running imapd, removed, purged. `make test-package` runs it, as root; it
//! fetches that Debian.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// What the packages say is worth reading.
#![allow(clippy::print_stdout)]

#[path = "package_lifecycle/debian.rs"]
mod debian;
mod harness;

use debian::Debian;
use harness::authority::Authority;
use harness::cas::CasServer;
use harness::examples;
use harness::imap::Imap;
use harness::portal::Portal;
use harness::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

const SERVICE: &str = "imap://localhost";
const PACKAGES: [&str; 2] = ["libsasl2-modules-sso", "sasl-sso"];

/// The packages that `make deb` has made.
fn built() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deb");
    let entries = std::fs::read_dir(directory).expect("packages: run `make deb`");
    let paths = entries.map(|entry| entry.expect("a package").path());
    let packages: Vec<PathBuf> = paths.collect();
    assert_eq!(packages.len(), PACKAGES.len(), "{packages:?}");
    packages
}

/// The same, of a later version.
fn upgraded(scratch: &Scratch) -> Vec<PathBuf> {
    let packages = built();
    let mut later = Vec::new();
    for (nth, package) in packages.iter().enumerate() {
        let tree = scratch.join(format!("later-{nth}"));
        let to = scratch.join(format!("later-{nth}.deb"));
        let version = env!("CARGO_PKG_VERSION");
        let script = format!(
            "dpkg-deb -R \"$1\" \"$2\" && sed -i 's/{version}/&+later/' \"$2/DEBIAN/control\" \
             && dpkg-deb --root-owner-group -b \"$2\" \"$3\""
        );
        let made = Command::new("sh")
            .args(["-c", &script, "sh"])
            .args([package, &tree, &to])
            .output()
            .expect("dpkg-deb");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        later.push(to);
    }
    later
}

fn by_password(debian: &Debian) -> bool {
    let mut imap = Imap::connect(debian.imap_port());
    let reply = imap.authenticate("PLAIN", b"\0alice\0secret", &[]);
    let wrong = Imap::connect(debian.imap_port()).authenticate("PLAIN", b"\0alice\0wrong", &[]);
    assert!(!wrong.ok, "a wrong password is taken");
    reply.ok
}

fn offers_tickets(debian: &Debian) -> bool {
    let mut imap = Imap::connect(debian.imap_port());
    imap.capabilities().contains(&"AUTH=CASPT".to_owned())
}

/// A connection that the ticket has opened.
fn by_ticket(debian: &Debian, ticket: &str) -> Imap {
    let mut imap = Imap::connect(debian.imap_port());
    let reply = imap.authenticate("CASPT", format!("\0\0{ticket}").as_bytes(), &[]);
    assert!(reply.ok, "{}", reply.status_line);
    imap
}

fn goes_on(imap: &mut Imap) -> bool {
    imap.command("NOOP").ok
}

/// The example for CAS, with the names of this site.
fn configure(debian: &Debian, cas: &CasServer, portal: &Portal) {
    let shipped = debian.read("/usr/share/doc/sasl-sso/examples/cas.conf");
    let here = examples::directory().join("cas.conf");
    assert_eq!(shipped, std::fs::read_to_string(here).expect("the example"));
    debian.write("/etc/ssl/univ-ca.pem", cas.ca_pem());
    let of_site: Vec<(String, String)> = examples::lines("cas.conf")
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
    let options: Vec<(&str, &str)> = of_site
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
fn installed_used_upgraded_removed_and_purged_they_leave_nothing_and_harm_nothing() {
    let scratch = Scratch::new("lifecycle");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let portal = Portal::start(&authority, &cas, "webmail");

    step("a Debian with Cyrus, and passwords");
    let mut debian = Debian::new(&scratch);
    debian.start_cyrus();
    assert!(by_password(&debian));
    let files_before = debian.files();
    let conf_before = debian.read("/etc/imapd.conf");

    step("installed: nothing is offered, nothing has changed");
    debian.install(&built());
    assert!(by_password(&debian));
    debian.restart_cyrus();
    assert!(by_password(&debian) && !offers_tickets(&debian));
    assert_eq!(debian.read("/etc/imapd.conf"), conf_before);
    let enabled = debian.run("find /etc/systemd -name '*sasl-sso*'");
    assert_eq!(enabled, "", "the units are enabled");
    println!("{}", debian.run("sasl-sso --version && sasl-sso check"));

    step("configured: tickets are taken, beside passwords");
    configure(&debian, &cas, &portal);
    println!("{}", debian.run("sasl-sso check"));
    debian.restart_cyrus();
    let ticket = portal.proxy_ticket("alice", SERVICE);
    let mut open = by_ticket(&debian, &ticket);
    assert!(by_password(&debian) && offers_tickets(&debian));
    assert_eq!(cas.validations(), 1);

    step("upgraded under the running imapd: who is in stays in, and is known");
    debian.install(&upgraded(&scratch));
    let versions = debian.run("dpkg-query -W -f '${Version} ' libsasl2-modules-sso sasl-sso");
    assert_eq!(versions.matches("+later").count(), 2, "{versions}");
    assert!(goes_on(&mut open));
    by_ticket(&debian, &ticket);
    debian.restart_cyrus();
    let mut open = by_ticket(&debian, &ticket);
    assert_eq!(
        cas.validations(),
        1,
        "the session did not survive the upgrade"
    );
    by_ticket(&debian, &portal.proxy_ticket("alice", SERVICE));
    assert_eq!(cas.validations(), 2);
    assert!(by_password(&debian));

    step("removed, with its options left behind: passwords go on");
    println!("{}", debian.run("dpkg -r sasl-sso libsasl2-modules-sso"));
    assert!(goes_on(&mut open) && by_password(&debian));
    debian.restart_cyrus();
    assert!(by_password(&debian) && !offers_tickets(&debian));
    assert!(debian.path("/run/cyrus/sasl-sso").exists());

    step("purged: nothing is left");
    println!("{}", debian.run("dpkg -P sasl-sso libsasl2-modules-sso"));
    assert!(by_password(&debian));
    std::fs::remove_file(debian.path("/etc/ssl/univ-ca.pem")).expect("our own");
    // What Cyrus itself keeps while it runs.
    let of_cyrus = |path: &String| {
        path.starts_with("/run/cyrus/") && !path.contains("sasl-sso") || path.ends_with(".pid")
    };
    let mut files_after = debian.files();
    let mut files_before = files_before;
    files_after.retain(|path, _| !of_cyrus(path));
    files_before.retain(|path, _| !of_cyrus(path));
    assert_eq!(files_after, files_before);
}
