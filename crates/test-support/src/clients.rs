//! Real mail clients that log in with a bearer token. They differ in their first message and in
//! their response to a refusal, which no specification describes.
//!
//! Each client runs once per login with its own configuration, trusts only the CA of the test, and
//! gets the token from standard input or from a file that only the test's user can read.

use super::authority::Authority;
use super::bearer_login::{Login, Outcome};
use super::cyrus_conf::Service;
use super::node;
use super::scratch::Scratch;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const LOGIN: &str = include_str!("clients/login.py");
const IMAPFLOW: &str = include_str!("clients/imapflow.mjs");
/// The key that rejects the certificate when Mutt asks about an untrusted one.
const REJECT: &str = "r";
const MUTTRC: &str = include_str!("clients/muttrc");

/// Where `scripts/install-python-packages` installs the packages that Debian does not provide.
const PYTHON_PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python");

/// A mail client. It uses STARTTLS unless the service is [`Service::Imaps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailClient {
    /// curl for IMAP and POP3. It prefers OAUTHBEARER if the server offers it. It does not respond
    /// to a challenge of XOAUTH2 but closes the connection.
    Curl,
    /// Python's imaplib, without an initial response.
    Imaplib,
    /// IMAPClient for Python. It sends no initial response and no `host=`, and responds to a
    /// challenge by repeating its first message.
    ImapClient,
    /// imapflow for Node.js. It prefers OAUTHBEARER if the server offers it.
    Imapflow,
    /// Mutt.
    Mutt,
    /// NeoMutt. It responds to a challenge with one byte without a line end, and closes the
    /// connection. Its OAUTHBEARER tokens are limited to 511 bytes.
    NeoMutt,
    /// Python's poplib.
    Poplib,
    /// A minimal ManageSieve client.
    Sieve,
}

/// Runs the clients in a directory of their own.
pub struct Clients {
    scratch: Scratch,
    home: PathBuf,
    ca: PathBuf,
}

impl Clients {
    /// Creates the directory and writes the files that the clients need.
    pub fn new(scratch: &Scratch, authority: &Authority) -> Self {
        let home = scratch.create_dir("clients");
        scratch.write("clients/login.py", LOGIN);
        Self {
            scratch: scratch.clone(),
            ca: scratch.write("clients/ca.pem", authority.ca_pem()),
            home,
        }
    }

    /// Runs `client` for one login.
    pub fn log_in(&self, client: MailClient, login: &Login) -> Outcome {
        match client {
            MailClient::Curl => self.curl(login),
            MailClient::Imaplib => self.python("imaplib", login),
            MailClient::ImapClient => self.python("imapclient", login),
            MailClient::Imapflow => self.imapflow(login),
            MailClient::Mutt => self.mutt("mutt", login),
            MailClient::NeoMutt => self.mutt("neomutt", login),
            MailClient::Poplib => self.python("poplib", login),
            MailClient::Sieve => self.python("sieve", login),
        }
    }

    fn curl(&self, login: &Login) -> Outcome {
        let page = match login.service {
            Service::Imap => "imap://localhost:PORT/INBOX",
            Service::Imaps => "imaps://localhost:PORT/INBOX",
            Service::Pop3 => "pop3://localhost:PORT/",
            other => panic!("curl does not speak {other:?}"),
        };
        let mut command = self.scratch.command("curl");
        command.args(["-q", "--config", "-"]);
        let config = format!(
            "url = \"{}\"\nuser = \"{}:\"\noauth2-bearer = \"{}\"\ncacert = \"{}\"\nssl-reqd\n\
             silent\nshow-error\nverbose\nmax-time = 15\n",
            page.replace("PORT", &login.port.to_string()),
            login.user,
            login.token,
            self.ca.display(),
        );
        self.exchange("curl", command, &config)
    }

    fn python(&self, client: &str, login: &Login) -> Outcome {
        let mut command = self.scratch.command("/usr/bin/python3");
        command
            .arg(self.home.join("login.py"))
            .args([client, &login.port.to_string(), login.user])
            .args([login.mechanism.name().as_ref(), self.ca.as_os_str()])
            .env("PYTHONPATH", PYTHON_PACKAGES);
        self.exchange(client, command, login.token)
    }

    fn imapflow(&self, login: &Login) -> Outcome {
        let mut command = node::command(&self.scratch, &self.home, "imapflow", IMAPFLOW);
        command
            .args([&login.port.to_string(), login.user])
            .arg(&self.ca)
            .arg((login.service == Service::Imaps).to_string());
        self.exchange("imapflow", command, login.token)
    }

    /// Runs Mutt or NeoMutt. The result is read from its debug log, because the exit status does
    /// not tell. script(1) provides the terminal that it needs.
    fn mutt(&self, program: &str, login: &Login) -> Outcome {
        let token = self.home.join(format!("{program}.token"));
        self.scratch.write_private(&token, login.token);
        let muttrc = MUTTRC
            .replace("PORT", &login.port.to_string())
            .replace("USER", login.user)
            .replace("MECHANISM", &login.mechanism.name().to_lowercase())
            .replace("TOKEN_FILE", &token.display().to_string())
            .replace("CA_FILE", &self.ca.display().to_string());
        let muttrc = self.scratch.write(self.home.join("muttrc"), muttrc);
        let log = self.home.join(format!(".{program}debug0"));
        let mut command = self.scratch.command("script");
        command
            .args(["-q", "-e", "-c"])
            .arg(format!("{program} -n -d 5 -F {}", muttrc.display()))
            .arg("/dev/null")
            .env("HOME", &self.home)
            .env("TERM", "dumb");
        let (_, shown) = self.scratch.attempt(program, command, REJECT);
        let transcript = fs::read(&log).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        fs::remove_file(&log).expect("cannot remove the debug log");
        let transcript = String::from_utf8_lossy(&transcript).into_owned();
        Outcome {
            logged_in: transcript.contains("Selecting INBOX"),
            transcript,
        }
    }

    fn exchange(&self, name: &str, command: Command, input: &str) -> Outcome {
        let (logged_in, transcript) = self.scratch.attempt(name, command, input);
        Outcome {
            logged_in,
            transcript,
        }
    }
}
