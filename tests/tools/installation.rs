//! What an administrator relies on: the examples, the installation, the check before a restart,
//! and that no credential is ever left anywhere.

// clippy sees no tests outside of #[test] functions.
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

/// `sasl-sso check` of this file, as it is shipped.
fn check(conf: &str) -> Output {
    let plugin = test_support::libsasl2::plugin();
    Command::new(plugin.with_file_name("sasl-sso"))
        .args(["check", "--plugin-dir"])
        .arg(plugin.parent().expect("a directory"))
        .args(["--config", conf])
        .output()
        .expect("sasl-sso: run `make build`")
}

/// A site with a real CAS, one portal, and imapd configured by the example.
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
        // The names of a site; the rest is as the example has it.
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
fn every_example_passes_the_check_and_is_a_configuration() {
    let scratch = Scratch::new("examples");
    for path in examples::all() {
        let conf = at_home(
            &scratch,
            &std::fs::read_to_string(&path).expect("an example"),
        );
        let conf = scratch.write("imapd.conf", conf).display().to_string();
        let output = check(&conf);
        let said = String::from_utf8_lossy(&output.stdout);
        let offer = said.lines().next_back().unwrap_or_default();
        let is_offered = offer.contains(" is offered") || offer.contains(" are offered");
        assert!(
            output.status.success() && is_offered && !said.contains("nothing is offered"),
            "{}: {output:?}",
            path.display()
        );
    }
    assert!(examples::all().len() >= 10);
}

/// An example whose files are there.
fn at_home(scratch: &Scratch, example: &str) -> String {
    let key = SigningKey::p256().pem();
    let ca = Authority::new().write_ca(scratch).display().to_string();
    let portal = scratch.write("portal.pem", &key).display().to_string();
    scratch.create_dir("jwt-keys");
    // For RS256, which the example allows alone.
    scratch.write("jwt-keys/application.pem", SigningKey::rsa().pem());
    let keys = scratch.join("jwt-keys").display().to_string();
    example
        .replace("/etc/ssl/certs/univ-ca.pem", &ca)
        .replace("/etc/cyrus/portal.pem", &portal)
        .replace("/etc/cyrus/jwt-keys", &keys)
}

#[test]
fn what_is_commented_out_in_an_example_is_right_as_well() {
    let scratch = Scratch::new("comments");
    for path in examples::all() {
        let text = std::fs::read_to_string(&path).expect("an example");
        let text = at_home(&scratch, &examples::with_all_options(&text));
        let conf = scratch.write("imapd.conf", text).display().to_string();
        let output = check(&conf);
        assert!(output.status.success(), "{}: {output:?}", path.display());
    }
}

#[test]
fn the_check_names_every_fault_before_the_restart() {
    let scratch = Scratch::new("check");
    let conf = "sasl_caspt_url: http://cas.univ.example/\nsasl_caspt_proxies: https://*\n\
                sasl_caspt_timout: 3\n";
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let output = check(&conf);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    for option in [
        "sasl_caspt_url: ",
        "sasl_caspt_proxies: ",
        "sasl_caspt_timout: ",
    ] {
        assert!(said.contains(option), "{said}");
    }
    // What the plugin reads with the first ticket, and not when it is loaded.
    let conf = "sasl_caspt_url: https://cas.univ.example/\nsasl_caspt_ca_file: /missing.pem\n";
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let output = check(&conf);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("/missing.pem: No such file"));
}

#[test]
fn the_example_opens_imap_to_pythons_imaplib_with_a_real_ticket() {
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
    let said = site.scratch.run("imaplib", command, "");
    assert_eq!(said.matches("'OK'").count(), 3, "{said}");
    assert_eq!(said.matches("\nOK\n").count(), 3, "{said}");
    assert!(said.ends_with("refused\n"), "{said}");
    // One for the ticket, one for the forged one.
    assert_eq!(site.cas.validations(), 2);
}

#[test]
fn no_credential_is_left_in_a_file_the_log_or_an_answer() {
    let mut site = Site::new("traces");
    let good = site.portal.proxy_ticket("alice", SERVICE);
    let elsewhere = site.portal.proxy_ticket("alice", "pop://localhost");
    let direct = site.portal.service_ticket("alice", SERVICE);
    let forged = "PT-forged-qj7w2mZx9Kd4vT1p".to_owned();
    let mut heard = String::new();
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
        heard += &reply.status_line;
        heard.extend(
            reply
                .challenges
                .iter()
                .map(|challenge| String::from_utf8_lossy(challenge)),
        );
    }
    for line in site.cyrus.log().lines() {
        heard += &line.text;
    }
    assert!(heard.contains("reason=direct_not_allowed"), "{heard}");
    let mut found = vec![("an answer or the log".into(), heard.into_bytes())];
    // Everything that Cyrus and the plugin have written. Stopped, it leaves that in peace.
    site.cyrus.stop();
    read_all(&site.scratch.join("cyrus"), &mut found);
    assert!(
        found
            .iter()
            .any(|(path, _)| path.to_string_lossy().ends_with(".mdb"))
    );
    for ticket in [&good, &elsewhere, &direct, &forged] {
        // The part behind PT- and the server's own counter.
        let secret = &ticket.as_bytes()[ticket.len() - 16..];
        for (path, bytes) in &found {
            let there = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!there, "a ticket is in {}", path.display());
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
fn make_install_puts_both_files_in_place_by_rename() {
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
    // A process that has the old file mapped goes on with it.
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
