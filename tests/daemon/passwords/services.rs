//! Options of single services apply in the daemon. Requests contain the name that libsasl2 uses for
//! the service, and entries of cyrus.conf that have the same name in libsasl2 must have the same
//! options.

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

/// The services, with their names in libsasl2.
const SERVICES: [(Service, &str); 4] = [
    (Service::Imap, "imap"),
    (Service::Pop3, "pop"),
    (Service::Sieve, "sieve"),
    (Service::Http, "http"),
];

/// A Cyrus that accepts tokens only through the daemon.
struct ServicesEnv {
    daemon: Daemon,
    cyrus: Cyrus,
    key: SigningKey,
    scratch: Scratch,
}

impl ServicesEnv {
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
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: all.into_iter().map(owned).collect(),
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

    /// Creates a token of alice with this role.
    fn token(&self, role: &str) -> String {
        let (now, header) = (now(), r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = format!(
            r#"{{"sub":"alice","role":"{role}","iat":{now},"exp":{}}}"#,
            now + 600
        );
        self.key.token(header, &claims)
    }

    /// Logs in with a new token of this role. Returns whether the login succeeds, and the service
    /// that the daemon logged.
    fn log_in(&self, service: Service, role: &str) -> (bool, String) {
        let token = self.token(role);
        let mark = self.cyrus.log().mark();
        let accepted = match service {
            Service::Pop3 => self.pop3(&token),
            Service::Sieve => self.sieve(&token),
            Service::Http => self.http(&token),
            _ => {
                Imap::connect(self.cyrus.imap_port())
                    .login("alice", &token)
                    .ok
            }
        };
        let line = self.wait_for_log(mark, &["mech=saslauthd"]);
        let (_, rest) = line.text.split_once(" service=").expect("no service");
        let (service, _) = rest.split_once("://").expect("no host name");
        (accepted, service.to_owned())
    }

    fn connect(&self, service: Service) -> (TcpStream, BufReader<TcpStream>) {
        let stream = TcpStream::connect(("127.0.0.1", self.cyrus.port(service)));
        let stream = stream.expect("no service");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("cannot set the time-out");
        let lines = BufReader::new(stream.try_clone().expect("cannot duplicate the stream"));
        (stream, lines)
    }

    fn pop3(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Pop3);
        let mut line = read_line(&mut lines);
        for command in ["USER alice", &format!("PASS {token}")] {
            write!(stream, "{command}\r\n").expect("cannot send the command");
            line = read_line(&mut lines);
        }
        line.starts_with("+OK")
    }

    fn sieve(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Sieve);
        let is_ok = |lines: &mut BufReader<TcpStream>| {
            loop {
                let line = read_line(lines);
                if line.starts_with("OK") || line.starts_with("NO") {
                    return line.starts_with("OK");
                }
            }
        };
        assert!(is_ok(&mut lines));
        let message = base64::encode(format!("\0alice\0{token}").as_bytes());
        write!(stream, "AUTHENTICATE \"PLAIN\" \"{message}\"\r\n")
            .expect("cannot send the command");
        is_ok(&mut lines)
    }

    fn http(&self, token: &str) -> bool {
        let (mut stream, mut lines) = self.connect(Service::Http);
        let basic = base64::encode(format!("alice:{token}").as_bytes());
        write!(
            stream,
            "GET /dav/principals/user/alice/ HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Basic {basic}\r\nConnection: close\r\n\r\n"
        )
        .expect("cannot send the request");
        // Any status but 401 shows that the login succeeded.
        !read_line(&mut lines).contains(" 401 ")
    }

    fn wait_for_log(&self, mark: usize, words: &[&str]) -> Line {
        let log = self.cyrus.log();
        let has = |line: &Line| {
            line.ident == "sasl-sso" && words.iter().all(|word| line.text.contains(word))
        };
        let line = log.wait_for_since(mark, has, PATIENCE);
        line.unwrap_or_else(|| panic!("no line with {words:?}\n{}", log.tail()))
    }
}

fn read_line(lines: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("cannot read a line");
    line
}

#[test]
fn each_service_has_its_own_options_in_the_daemon() {
    let env = ServicesEnv::new(&[
        ("sasl_jwt_require", "role=mail"),
        ("pop3_sasl_jwt_require", "role=pop"),
        ("sieve_sasl_jwt_require", "role=sieve"),
        ("http_sasl_jwt_require", "role=http"),
        ("pop3_sasl_caspt_url", "http://localhost:9/cas"),
    ]);
    for (service, sasl_name) in SERVICES {
        for (role, role_of) in [
            ("mail", "imap"),
            ("pop", "pop"),
            ("sieve", "sieve"),
            ("http", "http"),
        ] {
            let (accepted, logged) = env.log_in(service, role);
            let tail = env.cyrus.log().tail();
            assert_eq!(logged, sasl_name);
            assert_eq!(
                accepted,
                role_of == sasl_name,
                "{sasl_name} with role {role}\n{tail}"
            );
        }
    }
    // A service without options of its own has the general options.
    let ask = |role: &str| env.daemon.ask("alice", &env.token(role), "smtp");
    assert_eq!(ask("mail").as_deref(), Some("OK"));
    assert_eq!(ask("pop").as_deref(), Some("NO"));
    // A password that is a credential for one service is an ordinary password for none.
    for (service, expected, reason) in [
        ("pop", None, "reason=server_unreachable"),
        (
            "imap",
            Some("NO"),
            "detail=\"a credential of a kind that this service does not take\"",
        ),
    ] {
        let mark = env.cyrus.log().mark();
        let answer = env.daemon.ask("alice", "PT-1-ticket", service);
        assert_eq!(answer.as_deref(), expected, "{service}");
        env.wait_for_log(mark, &[reason]);
    }
}

#[test]
fn entries_of_one_service_with_different_options_are_refused() {
    let mut env = ServicesEnv::new(&[]);
    let conf = env.cyrus.imapd_conf();
    let before = fs::read_to_string(&conf).expect("cannot access imapd.conf");
    fs::write(
        &conf,
        format!("{before}imaps_sasl_jwt_require: role=mail\n"),
    )
    .expect("cannot access imapd.conf");
    let conflict = [
        "imaps_sasl_jwt_require: the entries imap and imaps of cyrus.conf are both imap to SASL",
        "; give both the same options",
    ];
    // After a reload the daemon keeps the old configuration.
    let mark = env.cyrus.log().mark();
    env.daemon.signal(Signal::SIGHUP);
    let line = env.wait_for_log(mark, &["sso: the old configuration stays: "]);
    for words in conflict {
        assert!(line.text.contains(words), "{}", line.text);
    }
    assert!(env.log_in(Service::Imap, "none").0);
    // At start the daemon refuses the configuration.
    env.daemon.kill();
    let command = daemon::command(&env.scratch, &conf, env.cyrus.log());
    let (success, output) = env.scratch.attempt("sasl-sso", command, "");
    assert!(!success);
    for words in conflict {
        assert!(output.contains(words), "{output}");
    }
    // `sasl-sso check` reports the conflict too.
    let mut check = env.scratch.command(daemon::program());
    check.args(["check", "--config"]).arg(&conf);
    let (success, output) = env.scratch.attempt("check", check, "");
    assert!(!success);
    let lines = before.lines().count() + 1;
    let begin = format!("{}:{lines}: fault: {}", conf.display(), conflict[0]);
    assert!(output.contains(&begin), "{output}");

    // The daemon ignores an entry that uses another saslauthd.
    let elsewhere =
        "imaps_sasl_jwt_require: role=mail\nimaps_sasl_saslauthd_path: /run/other/mux\n";
    fs::write(&conf, format!("{before}{elsewhere}")).expect("cannot access imapd.conf");
    env.daemon = Daemon::start(&env.scratch, &env.cyrus);
    assert!(env.log_in(Service::Imap, "none").0);
}
