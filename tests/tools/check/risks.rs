//! Configurations that are valid but dangerous, or that cannot work, each paired with a similar one
//! without diagnostics.

use super::rows::{self, Row, cas};
use super::{Found, check, findings, is_of_the_machine};
use serde_json::json;
use std::os::unix::net::UnixListener;
use test_support::base64;
use test_support::mint::{SigningKey, vulnerable_modulus};
use test_support::scratch::{Scratch, cyrus_user, set_mode};

const WHOLE: &str = "configdirectory: /var/lib/cyrus\npartition-default: /var/spool/cyrus\n\
                     tls_server_cert: /etc/ssl/certs/mail.pem\n";

/// Encodes a DER element: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len())
        .expect("a short content")
        .to_be_bytes();
    [&[tag, 0x82], &length[..], content].concat()
}

/// The PEM of an RSA key (RFC 3279, section 2.3.1).
fn rsa_pem(modulus: &[u8]) -> String {
    let n = der(2, modulus);
    let key = der(0x30, &[&n[..], &[2, 3, 1, 0, 1]].concat());
    let algorithm = [
        &[0x30, 13, 6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 1][..],
        &[5, 0],
    ]
    .concat();
    let bits = der(3, &[&[0], &key[..]].concat());
    let info = der(0x30, &[algorithm, bits].concat());
    let text = base64::encode(&info);
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// Creates the files that the rows refer to as HERE, and returns the listeners of their sockets.
fn files(scratch: &Scratch) -> [UnixListener; 2] {
    let modulus = vulnerable_modulus();
    scratch.write("good.pem", SigningKey::p256().pem());
    scratch.write("rsa.pem", SigningKey::rsa().pem());
    scratch.write("roca.pem", rsa_pem(&modulus));
    let n = base64::encode_url(&modulus);
    let jwk = json!({"kty": "RSA", "kid": "card", "e": "AQAB", "n": n});
    scratch.write("roca.json", json!({ "keys": [jwk] }).to_string());
    set_mode(&scratch.create_dir("open"), 0o1777);
    scratch.create_dir("saslauthd");
    drop(UnixListener::bind(scratch.join("dead")).expect("a socket"));
    let bind = |name: &str| {
        let path = scratch.join(name);
        let listener = UnixListener::bind(&path).expect("a socket");
        set_mode(&path, 0o777);
        listener
    };
    drop(bind("open/mux"));
    [bind("mux"), bind("saslauthd/mux")]
}

/// The exit status and the diagnostics of a configuration, without those that every test file has.
fn found(scratch: &Scratch, text: &str, arguments: &[&str]) -> (i32, Vec<Found>) {
    let directory = scratch.path().display().to_string();
    let conf = scratch.write("imapd.conf", text.replace("HERE", &directory));
    let conf = conf.display().to_string();
    let (status, document) = check(&[&["--config", &*conf], arguments].concat());
    let mut found = findings(&document);
    found.retain(|one| {
        !is_of_the_machine(one) && !one.3.starts_with("tls_") && one.3 != "configdirectory"
    });
    (status, found)
}

#[test]
fn each_risk_is_reported_and_its_safe_counterpart_is_not() {
    let scratch = Scratch::new("risks");
    let _listeners = files(&scratch);
    let mut failures = Vec::new();
    let rows = rows::all();
    for Row {
        severity,
        option,
        words,
        conf,
        right,
    } in &rows
    {
        let (status, diagnostics) = found(&scratch, conf, &[]);
        let fits =
            |one: &&Found| (&*one.0, &*one.3) == (*severity, *option) && one.4.contains(words);
        if diagnostics.iter().filter(fits).count() != 1 {
            failures.push(format!(
                "{severity} {option} {words}: not in {conf}\n{diagnostics:#?}"
            ));
        }
        let has_fault = diagnostics.iter().any(|one| one.0 == "fault");
        assert_eq!(status, i32::from(has_fault), "{conf}");
        let (status, _) = found(&scratch, conf, &["--strict"]);
        if status != 1 {
            failures.push(format!("--strict passes {conf}"));
        }
        let (status, diagnostics) = found(&scratch, right, &[]);
        if (status, &diagnostics[..]) != (0, &[]) {
            failures.push(format!("right: {right}\n{diagnostics:#?}"));
        }
    }
    let count = rows.len();
    assert!(
        failures.is_empty(),
        "{} of {count}: {}",
        failures.len(),
        failures.join("\n")
    );
    assert!(count >= 60, "{count}");
}

const SERVICES: &str = "SERVICES {\n  imap cmd=\"imapd\" listen=\"imap\"\n\
                        \x20 pop3 cmd=\"pop3d\" listen=\"pop3\"\n  sieve cmd=\"timsieved\"\n\
                        \x20 http cmd=\"httpd\"\n  lmtpunix cmd=\"lmtpd\"\n}\n";

#[test]
fn service_missing_from_cyrus_conf_is_a_fault() {
    let scratch = Scratch::new("risks-service");
    let cyrus = scratch
        .write("services.conf", SERVICES)
        .display()
        .to_string();
    for (service, words) in [
        ("imaps", "is imap meant?"),
        ("webmail", "no service webmail"),
    ] {
        let arguments = ["--cyrus-conf", &*cyrus, "--service", service];
        let (status, found) = found(&scratch, &cas(""), &arguments);
        assert_eq!(status, 1, "{service}");
        assert!(
            found[0].0 == "fault" && found[0].4.contains(words),
            "{found:?}"
        );
    }
    for service in ["imap", "POP3", "lmtpunix"] {
        let arguments = ["--cyrus-conf", &*cyrus, "--service", service];
        assert_eq!(
            found(&scratch, &cas(""), &arguments),
            (0, Vec::new()),
            "{service}"
        );
    }
    // A service with a configuration file of its own does not read the options of this file.
    let other = scratch
        .write("other.conf", "configdirectory: /x\n")
        .display()
        .to_string();
    let services = format!("SERVICES {{\n  webmail cmd=\"imapd -C {other}\"\n}}\n");
    let own = scratch.write("own.conf", services).display().to_string();
    let arguments = ["--cyrus-conf", &*own, "--service", "webmail"];
    let (status, diagnostics) = found(&scratch, &cas(""), &arguments);
    assert_eq!(status, 1);
    assert!(
        diagnostics[0]
            .4
            .contains(&format!("check {other} by --config")),
        "{diagnostics:?}"
    );
    let smtpd = "mech_list: PLAIN\n";
    let (status, found) = found(&scratch, smtpd, &["--service", "smtp"]);
    assert_eq!(status, 1);
    assert!(found[0].4.contains("leave --service out"), "{found:?}");
}

#[test]
fn certificate_without_starttls_or_implicit_tls_is_a_fault() {
    let scratch = Scratch::new("risks-starttls");
    let write = |name: &str, text: &str| scratch.write(name, text).display().to_string();
    let plain = write(
        "plain.conf",
        "SERVICES {\n  imap cmd=\"imapd\" listen=\"imap\"\n}\n",
    );
    let with_tls = write(
        "tls.conf",
        "SERVICES {\n  imap cmd=\"imapd\" listen=\"imap\"\n  imaps cmd=\"imapd -s\"\n}\n",
    );
    let conf = format!("{WHOLE}{}", cas(""));
    let allowed = format!("{conf}imap_allowstarttls: yes\n");
    let clear = format!("{conf}allowplaintext: yes\n");
    let without = conf.replace("tls_server_cert: ", "tls_client_ca_file: ");
    for (conf, cyrus, version, expected) in [
        (&conf, &plain, "3.10.2", 1),
        (&conf, &plain, "3.8.6", 1),
        (&conf, &plain, "3.12", 1),
        (&conf, &plain, "3.6.1", 0),
        (&conf, &plain, "3.8.5", 0),
        (&conf, &with_tls, "3.10.2", 0),
        (&allowed, &plain, "3.10.2", 0),
        (&clear, &plain, "3.10.2", 0),
        (&without, &plain, "3.10.2", 0),
    ] {
        let arguments = ["--cyrus-conf", cyrus, "--cyrus-version", version];
        let (status, found) = found(&scratch, conf, &arguments);
        assert_eq!(status, expected, "{version} {conf}\n{found:?}");
        let is_starttls_fault =
            |one: &Found| one.3 == "allowstarttls" && one.4.contains("STARTTLS");
        assert_eq!(
            found.iter().any(is_starttls_fault),
            expected == 1,
            "{found:?}"
        );
    } // Of several services, some may be without single sign-on.
    let several = write(
        "several.conf",
        "SERVICES {\n  imaps cmd=\"imapd -s\"\n  sieve cmd=\"timsieved\"\n}\n",
    );
    let arguments = ["--cyrus-conf", &*several, "--cyrus-version", "3.10.2"];
    let (status, found) = found(&scratch, &conf, &arguments);
    let severities: Vec<&str> = found.iter().map(|one| &*one.0).collect();
    assert_eq!(
        (status, &severities[..]),
        (0, &["warning"][..]),
        "{found:?}"
    );
    assert!(
        found[0].4.contains("set sieve_allowstarttls: yes"),
        "{found:?}"
    );
    // The service imap offers clients no mechanism, although imaps does.
    let conf = scratch.join("imapd.conf").display().to_string();
    let arguments = [
        "--config",
        &*conf,
        "--cyrus-conf",
        &*with_tls,
        "--cyrus-version",
        "3.12.1",
    ];
    let (_, document) = check(&arguments);
    let offered = document["offered"].as_array().expect("offers").iter();
    let offered: Vec<_> = offered
        .filter(|one| !one["service"].is_null())
        .map(|one| (&one["service"], one["mechanisms"].as_array().map(Vec::len)))
        .collect();
    assert_eq!(
        offered,
        [(&json!("imap"), Some(0)), (&json!("imaps"), Some(1))]
    );
}

#[test]
fn socket_unreachable_for_the_mail_server_is_reported() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let scratch = Scratch::new("risks-socket");
    let directory = scratch.create_dir("closed");
    let path = directory.join("mux");
    let _listener = UnixListener::bind(&path).expect("a socket");
    set_mode(&path, 0o777);
    let user = cyrus_user();
    let conf = format!(
        "cyrus_user: {user}\nsasl_pwcheck_method: saslauthd\nsasl_saslauthd_path: {}\n",
        path.display()
    );
    set_mode(&directory, 0o755);
    assert_eq!(found(&scratch, &conf, &[]), (0, Vec::new()));
    set_mode(&directory, 0o700);
    let (_, found) = found(&scratch, &conf, &[]);
    let words = format!("{user} may not enter ");
    assert!(
        found[0].0 == "warning" && found[0].4.contains(&words),
        "{found:?}"
    );
}
