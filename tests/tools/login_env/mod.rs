//! Servers for `sasl-sso login`: a Cyrus that accepts tickets of a real CAS and tokens of a real
//! OpenID provider, by all mechanisms and as passwords, and only under TLS.

// Every test binary compiles this module and uses part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
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

/// The service that tickets are obtained for, for all protocols.
pub const SERVICE: &str = "imap://localhost";

/// The exit status and the output of a run.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Asserts the exit status.
    #[track_caller]
    pub fn exits_with(&self, status: i32) -> &Self {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        self
    }

    /// Asserts that the output contains these texts in this order.
    #[track_caller]
    pub fn prints(&self, texts: &[&str]) -> &Self {
        let mut rest = self.out.as_str();
        for text in texts {
            let Some((_, behind)) = rest.split_once(text) else {
                panic!("no {text:?} in\n{}{}", self.out, self.err);
            };
            rest = behind;
        }
        self
    }

    /// Asserts that the output does not contain the credential, neither literally nor in base64 at
    /// any offset.
    #[track_caller]
    pub fn hides(&self, credential: &str) -> &Self {
        let output = format!("{}{}", self.out, self.err);
        let middle = |text: &str| text[4..text.len() - 4].to_owned();
        let mut secrets = vec![credential.to_owned()];
        secrets.extend(
            ["", "a", "ab"]
                .map(|before| middle(&base64::encode(format!("{before}{credential}").as_bytes()))),
        );
        for secret in secrets {
            assert!(!output.contains(&secret), "{secret} is in\n{output}");
        }
        self
    }
}

/// Runs `sasl-sso login` with these arguments and this standard input.
pub fn login(arguments: &[&str], input: &str) -> Run {
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
    let mut stdin = child.stdin.take().expect("no standard input");
    // The program may exit without reading its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("cannot read the output");
    Run {
        status: output.status.code(),
        out: String::from_utf8(output.stdout).expect("the output is not UTF-8"),
        err: String::from_utf8(output.stderr).expect("the output is not UTF-8"),
    }
}

/// The running servers. They are stopped in the order of the fields.
pub struct LoginEnv {
    pub daemon: Daemon,
    pub cyrus: Cyrus,
    pub portal: Portal,
    pub cas: CasServer,
    pub provider: OidcProvider,
    pub ca: PathBuf,
    pub scratch: Scratch,
}

impl LoginEnv {
    /// Starts the environment with these additional or changed lines of imapd.conf.
    pub fn new(name: &str, other: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new();
        let cas = CasServer::start(&scratch, &authority);
        let portal = Portal::start(&authority, &cas, "webmail");
        let provider = OidcProvider::start(&scratch, &authority);
        let ca = authority.write_ca(&scratch);
        let string = |path: &Path| path.display().to_string();
        let mut lines = [
            (
                "sasl_mech_list",
                "PLAIN CASPT OAUTHBEARER XOAUTH2".to_owned(),
            ),
            ("sasl_sso_plain", "yes".to_owned()),
            ("sasl_pwcheck_method", "saslauthd".to_owned()),
            ("sasl_saslauthd_path", string(&daemon::mux(&scratch))),
            ("sasl_caspt_url", cas.url()),
            ("sasl_caspt_ca_file", string(&ca)),
            ("sasl_caspt_proxies", format!("{}*", portal.service())),
            ("sasl_caspt_service", SERVICE.to_owned()),
            ("sasl_caspt_timeout", "2".to_owned()),
            ("sasl_jwt_issuer", provider.issuer()),
            ("sasl_jwt_keys", "discovery".to_owned()),
            ("sasl_jwt_audience", AUDIENCE.to_owned()),
            ("sasl_jwt_ca_file", string(&ca)),
            ("allowplaintext", "no".to_owned()),
            // Services other than imapd leave logging to libsasl2, which suppresses most messages
            // by default.
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
            // Each connection gets a new process, so cache hits come from the host tier.
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

    /// Logs in to a service of the environment, whose CA is trusted.
    pub fn login(&self, service: Service, arguments: &[&str], credential: &str) -> Run {
        let address = format!("localhost:{}", self.cyrus.port(service));
        let ca = self.ca.display().to_string();
        let mut all = match service {
            Service::Imap => vec!["--imap"],
            Service::Imaps => vec!["--tls", "--imap"],
            Service::Pop3 => vec!["--pop3"],
            Service::Sieve => vec!["--sieve"],
            Service::Http => panic!("sasl-sso login does not support httpd"),
        };
        all.extend([address.as_str(), "--ca-file", &ca]);
        all.extend(arguments);
        login(&all, credential)
    }

    /// Obtains a new ticket of alice.
    pub fn ticket(&self) -> String {
        self.portal.proxy_ticket("alice", SERVICE)
    }

    /// Obtains a new token of alice.
    pub fn token(&self) -> String {
        self.provider.access_token("alice", "RS256")
    }

    /// Waits for this many accepted logins after `mark`, and returns their sources.
    #[track_caller]
    pub fn sources(&self, mark: usize, count: usize) -> Vec<String> {
        let log = self.cyrus.log();
        let decisions = || -> Vec<String> {
            let lines = log.since(mark);
            let accepted = |line: &&Line| line.text.contains("outcome=accepted");
            let source = |line: &Line| {
                let (_, behind) = line
                    .text
                    .split_once(" source=")
                    .expect("the line has no source");
                behind
                    .split(' ')
                    .next()
                    .expect("the source is empty")
                    .to_owned()
            };
            lines.iter().filter(accepted).map(source).collect()
        };
        let found = test_support::wait::wait_until(PATIENCE, || decisions().len() >= count);
        assert!(found, "{}", log.tail());
        decisions()
    }
}
