//! What an administrator relies on: the examples, the installation, the check before a restart, and
//! that no credential is left in a file or in the log.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::examples;
use test_support::imap::Imap;
use test_support::mint::SigningKey;
use test_support::portal::Portal;
use test_support::scratch::Scratch;

const SERVICE: &str = "imap://localhost";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the shipped `sasl-sso check` on this file.
fn check(conf: &str) -> Output {
    let plugin = test_support::libsasl2::plugin();
    Command::new(plugin.with_file_name("sasl-sso"))
        .args(["check", "--plugin-dir"])
        .arg(plugin.parent().expect("a directory"))
        .args(["--config", conf])
        .output()
        .expect("sasl-sso: run `make build`")
}

/// A test environment with a real CAS, one portal, and imapd configured by the example.
struct Site {
    cas: CasServer,
    portal: Portal,
    cyrus: Cyrus,
    scratch: Scratch,
}

impl Site {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let portal = Portal::start(&authority, &cas, "webmail");
        let mut lines = examples::lines("cas.conf");
        // Only the host names are changed.
        for (_, value) in &mut lines {
            *value = value
                .replace("https://cas.univ.example/cas", &cas.url())
                .replace("https://webmail.univ.example/", &portal.service())
                .replace("mail.univ.example", "localhost");
        }
        lines.retain(|(key, _)| key != "sasl_sso_state_dir");
        let ca = authority.write_ca(&scratch).display().to_string();
        lines.push(("sasl_caspt_ca_file".to_owned(), ca));
        let options = Options {
            plugin: Some(test_support::libsasl2::plugin()),
            imapd_conf: lines,
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            cas,
            portal,
            cyrus,
            scratch,
        }
    }
}

#[test]
fn every_example_passes_the_check_and_offers_a_mechanism() {
    let scratch = Scratch::new("examples");
    for path in examples::all() {
        let conf = with_existing_files(
            &scratch,
            &std::fs::read_to_string(&path).expect("an example"),
        );
        let conf = scratch.write("imapd.conf", conf).display().to_string();
        let output = check(&conf);
        let report = String::from_utf8_lossy(&output.stdout);
        let offer = report.lines().next_back().unwrap_or_default();
        let is_offered = offer.contains(" is offered") || offer.contains(" are offered");
        assert!(
            output.status.success() && is_offered && !report.contains("nothing is offered"),
            "{}: {output:?}",
            path.display()
        );
    }
    assert!(examples::all().len() >= 10);
}

/// Replaces the paths in an example by those of existing files.
fn with_existing_files(scratch: &Scratch, example: &str) -> String {
    let key = SigningKey::p256().pem();
    let ca = Authority::new().write_ca(scratch).display().to_string();
    let portal = scratch.write("portal.pem", &key).display().to_string();
    scratch.create_dir("jwt-keys");
    // For RS256, the only algorithm that the example allows.
    scratch.write("jwt-keys/application.pem", SigningKey::rsa().pem());
    let keys = scratch.join("jwt-keys").display().to_string();
    example
        .replace("/etc/ssl/certs/univ-ca.pem", &ca)
        .replace("/etc/cyrus/portal.pem", &portal)
        .replace("/etc/cyrus/jwt-keys", &keys)
}

#[test]
fn options_commented_out_in_examples_pass_the_check() {
    let scratch = Scratch::new("comments");
    for path in examples::all() {
        let text = std::fs::read_to_string(&path).expect("an example");
        let text = with_existing_files(&scratch, &examples::with_all_options(&text));
        let conf = scratch.write("imapd.conf", text).display().to_string();
        let output = check(&conf);
        assert!(output.status.success(), "{}: {output:?}", path.display());
    }
}

#[test]
fn check_reports_every_fault_before_a_restart() {
    let scratch = Scratch::new("check");
    let conf = "sasl_caspt_url: http://cas.univ.example/\nsasl_caspt_proxies: https://*\n\
                sasl_caspt_timout: 3\n";
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let output = check(&conf);
    let report = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    for option in [
        "sasl_caspt_url: ",
        "sasl_caspt_proxies: ",
        "sasl_caspt_timout: ",
    ] {
        assert!(report.contains(option), "{report}");
    }
    // The plugin reads this file with the first ticket, not when it is loaded.
    let conf = "sasl_caspt_url: https://cas.univ.example/\nsasl_caspt_ca_file: /missing.pem\n";
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let output = check(&conf);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("/missing.pem: No such file"));
}

#[test]
fn cas_example_accepts_a_real_ticket_from_python_imaplib() {
    let site = Site::new("imaplib");
    let ticket = site.portal.proxy_ticket("alice", SERVICE);
    let script = r#"
import imaplib, sys
port, ticket = int(sys.argv[1]), sys.argv[2]
for attempt in range(3):
    imap = imaplib.IMAP4("127.0.0.1", port)
    print(imap.authenticate("CASPT", lambda challenge: b"\0\0" + ticket.encode()))
    print(imap.select("INBOX")[0])
    imap.logout()
try:
    imap = imaplib.IMAP4("127.0.0.1", port)
    imap.authenticate("CASPT", lambda challenge: b"" if challenge else b"\0\0PT-forged")
except imaplib.IMAP4.error as error:
    print("refused")
"#;
    let mut command = site.scratch.command("/usr/bin/python3");
    command.args(["-c", script, &site.cyrus.imap_port().to_string(), &ticket]);
    let report = site.scratch.run("imaplib", command, "");
    assert_eq!(report.matches("'OK'").count(), 3, "{report}");
    assert_eq!(report.matches("\nOK\n").count(), 3, "{report}");
    assert!(report.ends_with("refused\n"), "{report}");
    // One validation of the valid ticket, and one of the forged one.
    assert_eq!(site.cas.validations(), 2);
}

#[test]
fn no_credential_is_left_in_files_log_or_answers() {
    let mut site = Site::new("traces");
    let good = site.portal.proxy_ticket("alice", SERVICE);
    let elsewhere = site.portal.proxy_ticket("alice", "pop://localhost");
    let direct = site.portal.service_ticket("alice", SERVICE);
    let forged = "PT-forged-qj7w2mZx9Kd4vT1p".to_owned();
    let mut text = String::new();
    for ticket in [&good, &good, &elsewhere, &direct, &forged] {
        let mut imap = Imap::connect(site.cyrus.imap_port());
        let message = format!("\0\0{ticket}");
        let reply = imap.authenticate("CASPT", message.as_bytes(), &[b"\x01"]);
        assert_eq!(
            reply.ok,
            *ticket == good,
            "{reply:?}\n{}",
            site.cyrus.log().tail()
        );
        text += &reply.status_line;
        text.extend(
            reply
                .challenges
                .iter()
                .map(|challenge| String::from_utf8_lossy(challenge)),
        );
    }
    for line in site.cyrus.log().lines() {
        text += &line.text;
    }
    assert!(text.contains("reason=direct_not_allowed"), "{text}");
    let mut found = vec![("an answer or the log".into(), text.into_bytes())];
    // Everything that Cyrus and the plugin have written; Cyrus is stopped so that the files do not
    // change.
    site.cyrus.stop();
    read_all(&site.scratch.join("cyrus"), &mut found);
    assert!(
        found
            .iter()
            .any(|(path, _)| path.to_string_lossy().ends_with(".mdb"))
    );
    for ticket in [&good, &elsewhere, &direct, &forged] {
        // The part after PT- and the server's own counter.
        let secret = &ticket.as_bytes()[ticket.len() - 16..];
        for (path, bytes) in &found {
            let is_found = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!is_found, "a ticket was found in {}", path.display());
        }
    }
}

fn read_all(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = std::fs::symlink_metadata(&path).expect("an entry");
        if metadata.is_dir() {
            read_all(&path, found);
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
}

#[test]
fn make_install_replaces_both_files_by_rename() {
    let scratch = Scratch::new("install");
    let destination = scratch.create_dir("root");
    let install = || {
        let mut command = Command::new("make");
        command
            .current_dir(root())
            .args([
                "--no-print-directory",
                "install",
                "PLUGINDIR=/plugins",
                "PREFIX=/usr",
            ])
            .arg(format!("DESTDIR={}", destination.display()));
        let output = command.output().expect("make");
        assert!(output.status.success(), "{output:?}");
    };
    install();
    let plugin = destination.join("plugins/libsso.so");
    let before = std::fs::File::open(&plugin).expect("the plugin");
    install();
    // A process that has mapped the old file keeps using it.
    use std::os::unix::fs::MetadataExt;
    let after = std::fs::metadata(&plugin).expect("the plugin");
    assert_ne!(
        before.metadata().expect("the old plugin").ino(),
        after.ino()
    );
    assert_eq!(after.permissions().mode() & 0o777, 0o644);
    let shipped = std::fs::read(test_support::libsasl2::plugin()).expect("the plugin");
    assert_eq!(std::fs::read(&plugin).expect("the plugin"), shipped);
    let program = std::fs::metadata(destination.join("usr/sbin/sasl-sso")).expect("the program");
    assert_eq!(program.permissions().mode() & 0o777, 0o755);
    let left = std::fs::read_dir(destination.join("plugins"))
        .expect("the directory")
        .count();
    assert_eq!(left, 1);
}
