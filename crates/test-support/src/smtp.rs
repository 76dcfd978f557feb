//! Real mail clients that log in to smtpd and send a mail to `bert@localhost`.

use super::authority::Authority;
use super::bearer_login::Outcome;
use super::scratch::Scratch;
use std::path::PathBuf;

const SEND: &str = include_str!("clients/send.py");

/// A mail client. It uses STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpClient {
    /// curl. It sends no initial response unless configured to.
    Curl,
    /// Python's smtplib, which sends an initial response of any length.
    Smtplib,
    /// Python's smtplib without an initial response.
    SmtplibLater,
}

/// The parameters of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The port on localhost.
    pub port: u16,
    /// The mechanism, such as `XOAUTH2`. smtplib accepts `none` for a delivery without a login.
    pub mechanism: &'a str,
    /// The user name.
    pub user: &'a str,
    /// The token or the password. It must not contain quotes.
    pub secret: &'a str,
}

/// Runs the clients in a directory of their own.
pub struct SmtpClients {
    scratch: Scratch,
    home: PathBuf,
    ca: PathBuf,
}

impl SmtpClients {
    /// Creates the directory and writes the files that the clients need.
    pub fn new(scratch: &Scratch, authority: &Authority) -> Self {
        let home = scratch.create_dir("smtp-clients");
        scratch.write("smtp-clients/send.py", SEND);
        scratch.write("smtp-clients/mail", "Subject: a test\r\n\r\nHello.\r\n");
        Self {
            scratch: scratch.clone(),
            ca: scratch.write("smtp-clients/ca.pem", authority.ca_pem()),
            home,
        }
    }

    /// Logs in and sends a mail. [`Outcome::logged_in`] says whether smtpd accepted the mail.
    pub fn send(&self, client: SmtpClient, sender: &Sender) -> Outcome {
        match client {
            SmtpClient::Curl => self.curl(sender),
            SmtpClient::Smtplib => self.smtplib(sender, "initial"),
            SmtpClient::SmtplibLater => self.smtplib(sender, "later"),
        }
    }

    fn curl(&self, sender: &Sender) -> Outcome {
        let secret = match sender.mechanism {
            "OAUTHBEARER" | "XOAUTH2" => {
                format!(
                    "user = \"{}:\"\noauth2-bearer = \"{}\"\n",
                    sender.user, sender.secret
                )
            }
            _ => format!("user = \"{}:{}\"\n", sender.user, sender.secret),
        };
        let config = format!(
            "url = \"smtp://localhost:{}/client.example\"\nlogin-options = \"AUTH={}\"\n{secret}\
             mail-from = \"{}@localhost\"\nmail-rcpt = \"bert@localhost\"\nupload-file = \"{}\"\n\
             cacert = \"{}\"\nssl-reqd\nsilent\nshow-error\nverbose\nmax-time = 15\n",
            sender.port,
            sender.mechanism,
            sender.user,
            self.home.join("mail").display(),
            self.ca.display(),
        );
        let mut command = self.scratch.command("curl");
        command.args(["-q", "--config", "-"]);
        let (logged_in, transcript) = self.scratch.attempt("curl", command, &config);
        Outcome {
            logged_in,
            transcript,
        }
    }

    fn smtplib(&self, sender: &Sender, initial: &str) -> Outcome {
        let mut command = self.scratch.command("/usr/bin/python3");
        command
            .arg(self.home.join("send.py"))
            .args([&sender.port.to_string(), sender.mechanism, sender.user])
            .arg(&self.ca)
            .arg(initial);
        let (logged_in, transcript) = self.scratch.attempt("smtplib", command, sender.secret);
        Outcome {
            logged_in,
            transcript,
        }
    }
}
