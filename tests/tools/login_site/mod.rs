//! A site to log in to by `sasl-sso login`: a Cyrus that takes tickets of a real CAS and tokens of
//! a real OpenID provider, by mechanisms and where a password would be, and only under TLS.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use test_support::authority::Authority;
use test_support::base64;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::daemon::{self, Daemon};
use test_support::libsasl2;
use test_support::oidc::{AUDIENCE, OidcProvider};
use test_support::portal::Portal;
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// The service that tickets are for, whoever asks.
pub const SERVICE: &str = "imap://localhost";

/// What the program said, and its status.
#[derive(Debug)]
pub struct Answer {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The status, with all that was said if it is another one.
    #[track_caller]
    pub fn is(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        self
    }

    /// That these words were said, in this order.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Self {
        let mut rest = self.out.as_str();
        for word in words {
            let Some((_, behind)) = rest.split_once(word) else {
                panic!("no {word:?} in\n{}{}", self.out, self.err);
            };
            rest = behind;
        }
        self
    }

    /// That the credential was not: neither as it is nor in base64, whatever is before it.
    #[track_caller]
    pub fn hides(&self, credential: &str) -> &Self {
        let said = format!("{}{}", self.out, self.err);
        let middle = |text: &str| text[4..text.len() - 4].to_owned();
        let mut secrets = vec![credential.to_owned()];
        secrets.extend(
            ["", "a", "ab"]
                .map(|before| middle(&base64::encode(format!("{before}{credential}").as_bytes()))),
        );
        for secret in secrets {
            assert!(!said.contains(&secret), "{secret} is in\n{said}");
        }
        self
    }
}

/// `sasl-sso login` with these arguments and this standard input.
pub fn login(arguments: &[&str], input: &str) -> Answer {
    let program = libsasl2::plugin().with_file_name("sasl-sso");
    let mut child = Command::new(program)
        .env_clear()
        .arg("login")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sasl-sso: run `make build`");
    let mut stdin = child.stdin.take().expect("its input");
    // It may have found a fault in its arguments, and read nothing.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    Answer {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// The site. What is ended first stands first.
pub struct Site {
    pub daemon: Daemon,
    pub cyrus: Cyrus,
    pub portal: Portal,
    pub cas: CasServer,
    pub provider: OidcProvider,
    pub ca: PathBuf,
    pub scratch: Scratch,
}

impl Site {
    /// With these lines of imapd.conf on top.
    pub fn new(name: &str, other: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let portal = Portal::start(&authority, &cas, "webmail");
        let provider = OidcProvider::start(&scratch, &authority);
        let ca = authority.write_ca(&scratch);
        let text = |path: &Path| path.display().to_string();
        let mut lines = [
            (
                "sasl_mech_list",
                "PLAIN CASPT OAUTHBEARER XOAUTH2".to_owned(),
            ),
            ("sasl_sso_plain", "yes".to_owned()),
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            ("sasl_saslauthd_path", text(&daemon::mux(&scratch))),
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_ca_file", text(&ca)),
            ("sasl_caspt_proxies", format!("{}*", portal.service())),
            ("sasl_caspt_service", SERVICE.to_owned()),
            ("sasl_caspt_timeout", "2".to_owned()),
            ("sasl_jwt_issuer", provider.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_ca_file", text(&ca)),
            ("allowplaintext", "no".to_owned()),
            // The services other than imapd leave the log to libsasl2, which keeps most to itself.
            ("sasl_log_level", "7".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        for (name, value) in other {
            lines.retain(|(known, _)| known != name);
            lines.push(((*name).to_owned(), (*value).to_owned()));
        }
        let options = Options {
            plugin: Some(libsasl2::plugin()),
            imapd_conf: lines,
            services: vec![Service::Imap, Service::Imaps, Service::Pop3, Service::Sieve],
            // A process for each connection: what it knows, it knows of the host.
            reuse: 1,
            ..Options::default()
        };
        let cyrus = Cyrus::start(&scratch, &authority, options);
        Self {
            daemon: Daemon::start(&scratch, &cyrus),
            cyrus,
            portal,
            cas,
            provider,
            ca,
            scratch,
        }
    }

    /// A login to one of the services, which trusts the site's CA.
    pub fn login(&self, service: Service, arguments: &[&str], credential: &str) -> Answer {
        let address = format!("localhost:{}", self.cyrus.port(service));
        let ca = self.ca.display().to_string();
        let mut all = match service {
            Service::Imap => vec!["--imap"],
            Service::Imaps => vec!["--tls", "--imap"],
            Service::Pop3 => vec!["--pop3"],
            Service::Sieve => vec!["--sieve"],
            Service::Http => panic!("httpd has no such logins"),
        };
        all.extend([address.as_str(), "--ca-file", &ca]);
        all.extend(arguments);
        login(&all, credential)
    }

    /// A new ticket of alice's.
    pub fn ticket(&self) -> String {
        self.portal.proxy_ticket("alice", SERVICE)
    }

    /// A new token of alice's.
    pub fn token(&self) -> String {
        self.provider.access_token("alice", "RS256")
    }

    /// The sources of so many decisions for a user since `mark`.
    #[track_caller]
    pub fn sources(&self, mark: usize, count: usize) -> Vec<String> {
        let log = self.cyrus.log();
        let decisions = || -> Vec<String> {
            let lines = log.since(mark);
            let accepted = |line: &&Line| line.text.contains("outcome=accepted");
            let source = |line: &Line| {
                let (_, behind) = line.text.split_once(" source=").expect("a source");
                behind.split(' ').next().expect("a word").to_owned()
            };
            lines.iter().filter(accepted).map(source).collect()
        };
        let there = test_support::wait::wait_until(PATIENCE, || decisions().len() >= count);
        assert!(there, "{}", log.tail());
        decisions()
    }
}
