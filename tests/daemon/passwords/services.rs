//! Options of single services hold in the daemon: it hears what libsasl2 calls the service, and
//! entries of cyrus.conf that are one service to libsasl2 must have the same options.

use nix::sys::signal::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use test_support::authority::Authority;
use test_support::base64;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::daemon::{self, Daemon};
use test_support::imap::Imap;
use test_support::libsasl2;
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// The services, as cyrus.conf and as libsasl2 call them.
const SERVICES: [(Service, &str); 4] = [
    (Service::Imap, "imap"),
    (Service::Pop3, "pop"),
    (Service::Sieve, "sieve"),
    (Service::Http, "http"),
];

/// A Cyrus that takes tokens by the daemon alone.
struct Site {
    daemon: Daemon,
    cyrus: Cyrus,
    key: SigningKey,
    scratch: Scratch,
}

impl Site {
    fn new(lines: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new("services");
        let key = SigningKey::hmac(b"thirty-two bytes of a secret key");
        let mux = daemon::mux(&scratch).display().to_string();
        let keys = scratch.write("key.pem", key.pem()).display().to_string();
        let mut all = vec![
            ("sasl_mech_list", "PLAIN"),
            ("sasl_pwcheck_method", "saslauthd"),
            ("sasl_saslauthd_path", &mux),
            ("sasl_jwt_keys", &keys),
            ("sasl_jwt_issuer", "*"),
            ("sasl_jwt_audience", "*"),
        ];
        all.extend(lines);
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: all.into_iter().map(own).collect(),
            services: vec![
                Service::Imap,
                Service::Imaps,
                Service::Pop3,
                Service::Sieve,
                Service::Http,
            ],
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &Authority::new(), options);
        Self {
            daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            key,
            scratch,
        }
    }

    /// A new token of alice's with this role.
    fn token(&self, role: &str) -> String {
        let (now, header) = (now(), r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"sub":"alice","role":"{role}","iat":{now},"exp":{}}}"#,
            now + 600
        );
        self.key.token(header, &claims)
    }

    /// Whether a real login with a new token of this role succeeds; and which service the
    /// daemon heard.
    fn log_in(&self, service: Service, role: &str) -> (bool, String) {
        let token = self.token(role);
        let mark = self.cyrus.log().mark();
        let is_in = match service {
            Service::Pop3 => self.pop3(&token),
            Service::Sieve => self.sieve(&token),
            Service::Http => self.http(&token),
            _ => {
                Imap::connect(self.cyrus.imap_port())
                    .login("alice", &token)
                    .ok
            }
        };
        let line = self.said(mark, &["mech=saslauthd"]);
        let (_, rest) = line.text.split_once(" service=").expect("a service");
        let (service, _) = rest.split_once("://").expect("a name of a host");
        (is_in, service.to_owned())
    }

    fn connect(&self, service: Service) -> (TcpStream, BufReader<TcpStream>) {
        let stream = TcpStream::connect(("127.0.0.1", self.cyrus.port(service)));
        let stream = stream.expect("a service");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let lines = BufReader::new(stream.try_clone().expect("a stream"));
        (stream, lines)
    }

    fn pop3(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Pop3);
        let mut line = next(&mut lines);
        for command in ["USER alice", &format!("PASS {token}")] {
            write!(stream, "{command}\r\n").expect("a command");
            line = next(&mut lines);
        }
        line.starts_with("+OK")
    }

    fn sieve(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Sieve);
        let until_the_end = |lines: &mut BufReader<TcpStream>| {
            loop {
                let line = next(lines);
                if line.starts_with("OK") || line.starts_with("NO") {
                    return line.starts_with("OK");
                }
            }
        };
        assert!(until_the_end(&mut lines));
        let message = base64::encode(format!("\0alice\0{token}").as_bytes());
        write!(stream, "AUTHENTICATE \"PLAIN\" \"{message}\"\r\n").expect("a command");
        until_the_end(&mut lines)
    }

    fn http(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Http);
        let basic = base64::encode(format!("alice:{token}").as_bytes());
        write!(
            stream,
            "GET /dav/principals/user/alice/ HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Basic {basic}\r\nConnection: close\r\n\r\n"
        )
        .expect("a request");
        // What it shows to who is in is another matter.
        !next(&mut lines).contains(" 401 ")
    }

    fn said(&self, mark: usize, words: &[&str]) -> Line {
        let log = self.cyrus.log();
        let has = |line: &Line| {
            line.ident == "sasl-sso" && words.iter().all(|word| line.text.contains(word))
        };
        let line = log.wait_for_since(mark, has, PATIENCE);
        line.unwrap_or_else(|| panic!("nothing of {words:?}\n{}", log.tail()))
    }
}

fn next(lines: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line
}

#[test]
fn each_service_has_its_own_options_in_the_daemon() {
    let site = Site::new(&[
        ("sasl_jwt_require", "role=mail"),
        ("pop3_sasl_jwt_require", "role=pop"),
        ("sieve_sasl_jwt_require", "role=sieve"),
        ("http_sasl_jwt_require", "role=http"),
        ("pop3_sasl_caspt_url", "http://localhost:9/cas"),
    ]);
    for (service, of_sasl) in SERVICES {
        for (role, of) in [
            ("mail", "imap"),
            ("pop", "pop"),
            ("sieve", "sieve"),
            ("http", "http"),
        ] {
            let (is_in, heard) = site.log_in(service, role);
            let tail = site.cyrus.log().tail();
            assert_eq!(heard, of_sasl);
            assert_eq!(is_in, of == of_sasl, "{of_sasl} with role {role}\n{tail}");
        }
    }
    // What nobody has options for has the general ones.
    let ask = |role: &str| site.daemon.ask("alice", &site.token(role), "smtp");
    assert_eq!(ask("mail").as_deref(), Some("OK"));
    assert_eq!(ask("pop").as_deref(), Some("NO"));
    // What is a credential to one of them is an ordinary password to none.
    for (service, answer, reason) in [
        ("pop", None, "reason=server_unreachable"),
        (
            "imap",
            Some("NO"),
            "detail=\"a credential of a kind that this service does not take\"",
        ),
    ] {
        let mark = site.cyrus.log().mark();
        let said = site.daemon.ask("alice", "PT-1-ticket", service);
        assert_eq!(said.as_deref(), answer, "{service}");
        site.said(mark, &[reason]);
    }
}

#[test]
fn entries_of_one_service_with_different_options_are_refused() {
    let mut site = Site::new(&[]);
    let conf = site.cyrus.imapd_conf();
    let before = fs::read_to_string(&conf).expect("imapd.conf");
    fs::write(
        &conf,
        format!("{before}imaps_sasl_jwt_require: role=mail\n"),
    )
    .expect("imapd.conf");
    let conflict = [
        "imaps_sasl_jwt_require: the entries imap and imaps of cyrus.conf are both imap to SASL",
        "; give both the same options",
    ];
    // Read again, the daemon goes on as before.
    let mark = site.cyrus.log().mark();
    site.daemon.signal(Signal::SIGHUP);
    let line = site.said(mark, &["sso: the old configuration stays: "]);
    for words in conflict {
        assert!(line.text.contains(words), "{}", line.text);
    }
    assert!(site.log_in(Service::Imap, "none").0);
    // Started, it does not serve.
    site.daemon.kill();
    let command = daemon::command(&site.scratch, &conf, site.cyrus.log());
    let (is_good, said) = site.scratch.attempt("sasl-sso", command, "");
    assert!(!is_good);
    for words in conflict {
        assert!(said.contains(words), "{said}");
    }
    // And check says so before that.
    let mut check = site.scratch.command(daemon::program());
    check.args(["check", "--config"]).arg(&conf);
    let (is_good, said) = site.scratch.attempt("check", check, "");
    assert!(!is_good);
    let lines = before.lines().count() + 1;
    let begin = format!("{}:{lines}: fault: {}", conf.display(), conflict[0]);
    assert!(said.contains(&begin), "{said}");

    // An entry that asks another saslauthd is none of the daemon's business.
    let elsewhere =
        "imaps_sasl_jwt_require: role=mail\nimaps_sasl_saslauthd_path: /run/other/mux\n";
    fs::write(&conf, format!("{before}{elsewhere}")).expect("imapd.conf");
    site.daemon = Daemon::start(&site.scratch, &site.cyrus);
    assert!(site.log_in(Service::Imap, "none").0);
}
