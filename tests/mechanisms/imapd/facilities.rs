//! The syslog facility of the plugin's log lines is that of the service which has loaded it.

use super::{options, with};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use test_support::authority::Authority;
use test_support::cyrus::{Cyrus, Options};
use test_support::cyrus_conf::Service;
use test_support::faulty_cas::FaultyCas;
use test_support::imap::Imap;
use test_support::scratch::Scratch;
use test_support::syslog::{Line, facility, level};
use test_support::wait::PATIENCE;

/// Runs these commands in a POP3 session and returns all answers.
fn pop3(port: u16, commands: &[&str]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("pop3d");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writer = stream.try_clone().expect("the connection");
    let mut reader = BufReader::new(stream);
    let mut answers = String::new();
    reader.read_line(&mut answers).expect("the greeting");
    for command in commands {
        writer
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("a command");
        reader.read_line(&mut answers).expect("an answer");
    }
    answers
}

/// Waits for a log line of this service that contains this text.
fn line(cyrus: &Cyrus, service: &str, text: &str) -> Line {
    let matches = |line: &Line| line.ident.ends_with(service) && line.text.contains(text);
    cyrus
        .log()
        .wait_for(matches, PATIENCE)
        .unwrap_or_else(|| panic!("{service}: {text}\n{}", cyrus.log().tail()))
}

#[test]
fn refused_configuration_is_logged_to_the_facility_of_the_service() {
    for (lines, expected) in [
        (&[][..], facility::MAIL),
        (&[("syslog_facility", "LOCAL5")], facility::LOCAL5),
    ] {
        let scratch = Scratch::new(&format!("facility-{expected}"));
        let authority = Authority::new();
        let cas = FaultyCas::start(&authority);
        let mut options = with(options(&scratch, &authority, &cas), lines);
        options = with(options, &[("sasl_caspt_timeout", "soon")]);
        options.services = vec![Service::Imap, Service::Pop3];
        let cyrus = Cyrus::start(&scratch, &authority, options);
        let capabilities = Imap::connect(cyrus.imap_port()).capabilities();
        assert!(!capabilities.contains(&"AUTH=CASPT".to_owned()));
        pop3(cyrus.pop3_port(), &["QUIT"]);
        for service in ["imap", "pop3"] {
            let text = "sso: single sign-on is not offered: sasl_caspt_timeout";
            let line = line(&cyrus, service, text);
            assert_eq!(
                (line.facility, line.level),
                (expected, level::ERR),
                "{line:?}"
            );
        }
    }
}

#[test]
fn logins_without_a_log_callback_are_logged_to_the_facility_of_the_service() {
    let scratches = ["facility-pop3", "facility-pop3-default"].map(Scratch::new);
    let authority = Authority::new();
    let cas = FaultyCas::start(&authority);
    let start = |scratch: &Scratch, log_level: &[(&str, &str)]| {
        let options = with(options(scratch, &authority, &cas), log_level);
        let options = Options {
            services: vec![Service::Pop3],
            ..options
        };
        Cyrus::start(scratch, &authority, options)
    };
    // NUL NUL PT-1-forged
    let commands = ["AUTH CASPT", "AABQVC0xLWZvcmdlZA==", "AQ==", "QUIT"];
    let cyrus = start(&scratches[0], &[("sasl_log_level", "4")]);
    let answers = pop3(cyrus.pop3_port(), &commands);
    assert!(answers.contains("-ERR"), "{answers}");
    let line = line(&cyrus, "pop3", "sso: mech=CASPT ");
    assert_eq!(line.facility, facility::MAIL, "{line:?}");
    assert_eq!(line.level, level::NOTICE, "{line:?}");
    // libsasl2 only requests errors by default.
    let cyrus = start(&scratches[1], &[]);
    let mark = cyrus.log().mark();
    pop3(cyrus.pop3_port(), &commands);
    let since = cyrus.log().since(mark);
    let is_ours = |line: &&Line| line.text.starts_with("sso: mech=");
    assert_eq!(since.iter().filter(is_ours).count(), 0, "{since:?}");
}
