//! Real clients that can only send a password: each is run once for each login, trusts the test's
//! authority alone, and gets the password by its standard input if it takes it there.

use super::authority::Authority;
use super::bearer_login::Outcome;
use super::cyrus::Cyrus;
use super::cyrus_conf::Service;
use super::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOGIN: &str = include_str!("clients/password.py");
/// Debian's imtest, sivtest and pop3test, none of which is in the PATH.
const CYRUS_CLIENTS: &str = "/usr/lib/cyrus/bin";
/// Asks for the user's calendars, twice by one connection: httpd asks for the password each time.
const PROPFIND: &str = "request = \"PROPFIND\"\nheader = \"Depth: 0\"\nfail\n";

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordClient {
    /// curl for IMAP, POP3 and, by Basic, CalDAV. It does without PLAIN only where that is not
    /// offered.
    Curl,
    /// Those of Cyrus itself: imtest, pop3test, sivtest. They crash by a password of some hundred
    /// bytes, and take any certificate.
    CyrusTest,
    /// Python's imaplib, without an initial response.
    Imaplib,
    /// Python's poplib.
    Poplib,
    /// A small client of ManageSieve.
    Sieve,
}

/// How a password comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the protocol's own means: LOGIN, USER and PASS, or Basic.
    Command,
    /// By SASL's PLAIN.
    Plain,
}

/// Who logs in, where and how.
#[derive(Clone, Copy, Debug)]
pub struct PasswordLogin<'a> {
    /// What the client speaks.
    pub service: Service,
    /// How.
    pub way: Way,
    /// The user.
    pub user: &'a str,
    /// The password, or what is in its place; without quotes.
    pub password: &'a str,
}

/// Runs clients in a directory of their own, against one Cyrus.
pub struct PasswordClients {
    scratch: Scratch,
    home: PathBuf,
    ca: PathBuf,
}

impl PasswordClients {
    /// Writes what they need.
    pub fn new(scratch: &Scratch, authority: &Authority) -> Self {
        let home = scratch.create_dir("password-clients");
        scratch.write(home.join("password.py"), LOGIN);
        Self {
            scratch: scratch.clone(),
            ca: scratch.write(home.join("ca.pem"), authority.ca_pem()),
            home,
        }
    }

    /// Logs in once.
    pub fn log_in(&self, client: PasswordClient, cyrus: &Cyrus, login: &PasswordLogin) -> Outcome {
        let port = cyrus.port(login.service).to_string();
        match client {
            PasswordClient::Curl => self.curl(&port, login),
            PasswordClient::CyrusTest => self.cyrus_test(&cyrus.plugin_dir(), &port, login),
            PasswordClient::Imaplib => self.python("imaplib", &port, login),
            PasswordClient::Poplib => self.python("poplib", &port, login),
            PasswordClient::Sieve => self.python("sieve", &port, login),
        }
    }

    fn curl(&self, port: &str, login: &PasswordLogin) -> Outcome {
        let user = login.user;
        let of_mail = "ssl-reqd\n";
        let (pages, more) = match login.service {
            Service::Imap => (vec![format!("imap://localhost:{port}/INBOX")], of_mail),
            Service::Pop3 => (vec![format!("pop3://localhost:{port}/")], of_mail),
            Service::Http => {
                let page = format!("http://localhost:{port}/dav/calendars/user/{user}/");
                (vec![page.clone(), page], PROPFIND)
            }
            other => panic!("curl does not speak {other:?}"),
        };
        let urls: String = pages
            .iter()
            .map(|url| format!("url = \"{url}\"\n"))
            .collect();
        let options = match (login.service, login.way) {
            (Service::Http, Way::Command) => "basic\n",
            (_, Way::Command) => "",
            (_, Way::Plain) => "login-options = \"AUTH=PLAIN\"\n",
        };
        let config = format!(
            "{urls}{more}{options}user = \"{user}:{}\"\ncacert = \"{}\"\nsilent\nshow-error\n\
             verbose\nmax-time = 15\n",
            login.password,
            self.ca.display(),
        );
        let mut command = self.scratch.command("curl");
        command.args(["-q", "--config", "-"]);
        self.exchange("curl", command, &config)
    }

    /// Its status tells nothing, but its output does. It takes a password as an argument alone.
    fn cyrus_test(&self, plugins: &Path, port: &str, login: &PasswordLogin) -> Outcome {
        let (program, bye) = match login.service {
            Service::Imap => ("imtest", "q LOGOUT\r\n"),
            Service::Pop3 => ("pop3test", "QUIT\r\n"),
            Service::Sieve => ("sivtest", "LOGOUT\r\n"),
            other => panic!("no program of Cyrus speaks {other:?}"),
        };
        let way = match (login.service, login.way) {
            (Service::Pop3, Way::Command) => "user",
            (_, Way::Command) => "login",
            (_, Way::Plain) => "plain",
        };
        let mut command = self.scratch.command(Path::new(CYRUS_CLIENTS).join(program));
        command
            .args(["-m", way, "-p", port, "-t", ""])
            .args(["-u", login.user, "-a", login.user, "-w", login.password])
            .arg("localhost")
            .env("SASL_PATH", plugins);
        let (_, transcript) = self.scratch.attempt(program, command, bye);
        Outcome {
            logged_in: transcript.contains("Authenticated.\n"),
            transcript,
        }
    }

    fn python(&self, client: &str, port: &str, login: &PasswordLogin) -> Outcome {
        let way = match login.way {
            Way::Command => "command",
            Way::Plain => "plain",
        };
        let mut command = self.scratch.command("/usr/bin/python3");
        command
            .arg(self.home.join("password.py"))
            .args([client, port, login.user, way])
            .arg(&self.ca);
        self.exchange(client, command, login.password)
    }

    fn exchange(&self, name: &str, command: Command, input: &str) -> Outcome {
        let (logged_in, transcript) = self.scratch.attempt(name, command, input);
        Outcome {
            logged_in,
            transcript,
        }
    }
}
