//! Real clients that can only send a password. Each runs once per login, trusts only the CA of the
//! test, and gets the password from standard input if it can read it from there.

use super::authority::Authority;
use super::bearer_login::Outcome;
use super::cyrus::Cyrus;
use super::cyrus_conf::Service;
use super::scratch::Scratch;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOGIN: &str = include_str!("clients/password.py");
/// Where Debian installs imtest, sivtest and pop3test, which are not in the PATH.
const CYRUS_CLIENTS: &str = "/usr/lib/cyrus/bin";
/// curl options that list the user's calendars, in two requests on one connection. httpd checks the
/// password for each request.
const PROPFIND: &str = "request = \"PROPFIND\"\nheader = \"Depth: 0\"\nfail\n";

/// A client that sends a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordClient {
    /// curl for IMAP, POP3 and, with Basic authentication, CalDAV. It uses PLAIN if the server
    /// offers it.
    Curl,
    /// imtest, pop3test and sivtest of Cyrus. They crash with a password of a few hundred bytes,
    /// and do not verify certificates.
    CyrusTest,
    /// Python's imaplib. It sends no initial response.
    Imaplib,
    /// Python's poplib.
    Poplib,
    /// A minimal ManageSieve client.
    Sieve,
}

/// How a client sends the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the protocol's own command: LOGIN, USER and PASS, or Basic authentication.
    Command,
    /// By the SASL mechanism PLAIN.
    Plain,
}

/// The parameters of a login.
#[derive(Clone, Copy, Debug)]
pub struct PasswordLogin<'a> {
    /// The service to log in to.
    pub service: Service,
    /// How the password is sent.
    pub way: Way,
    /// The user name.
    pub user: &'a str,
    /// The password, or the credential in its place. It must not contain quotes.
    pub password: &'a str,
}

/// Runs clients in a directory of their own, against one Cyrus.
pub struct PasswordClients {
    scratch: Scratch,
    home: PathBuf,
    ca: PathBuf,
}

impl PasswordClients {
    /// Creates the directory and writes the files that the clients need.
    pub fn new(scratch: &Scratch, authority: &Authority) -> Self {
        let home = scratch.create_dir("password-clients");
        scratch.write(home.join("password.py"), LOGIN);
        Self {
            scratch: scratch.clone(),
            ca: scratch.write(home.join("ca.pem"), authority.ca_pem()),
            home,
        }
    }

    /// Runs `client` for one login.
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
        let mail_options = "ssl-reqd\n";
        let (pages, extra_options) = match login.service {
            Service::Imap => (vec![format!("imap://localhost:{port}/INBOX")], mail_options),
            Service::Pop3 => (vec![format!("pop3://localhost:{port}/")], mail_options),
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
            "{urls}{extra_options}{options}user = \"{user}:{}\"\ncacert = \"{}\"\nsilent\nshow-error\n\
             verbose\nmax-time = 15\n",
            login.password,
            self.ca.display(),
        );
        let mut command = self.scratch.command("curl");
        command.args(["-q", "--config", "-"]);
        self.exchange("curl", command, &config)
    }

    /// Runs a client of Cyrus. The result is read from its output, because the exit status does not
    /// tell. It takes the password only as an argument.
    fn cyrus_test(&self, plugins: &Path, port: &str, login: &PasswordLogin) -> Outcome {
        let (program, bye) = match login.service {
            Service::Imap => ("imtest", "q LOGOUT\r\n"),
            Service::Pop3 => ("pop3test", "QUIT\r\n"),
            Service::Sieve => ("sivtest", "LOGOUT\r\n"),
            other => panic!("Cyrus has no test client for {other:?}"),
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
