//! `sasl-sso login`: logs in to a mail server as a mail client does.

#![forbid(unsafe_code)]

pub(crate) mod attempt;
pub(crate) mod connection;
pub(crate) mod credential_input;
pub(crate) mod diagnosis;
pub(crate) mod imap;
pub(crate) mod managesieve;
pub(crate) mod mechanism;
pub(crate) mod pop3;
pub(crate) mod protocol;
pub(crate) mod report;
pub(crate) mod sasl_exchange;
pub(crate) mod server_addr;

pub(crate) mod tls;
pub(crate) mod transcript;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::ExitStatus;
use crate::term::console::Console;
use attempt::{Attempt, ServerTarget};
use credential_input::CredentialInput;
use diagnosis::Outcome;
use mechanism::{Login, Mechanism, Names};
use server_addr::{Protocol, Security, ServerAddr};
use sso_core::platform::log::is_hidden;
use tls::TlsTrust;

/// Log in to a mail server with a ticket or a token, and show each exchange.
///
/// The command logs in, and then logs in again on a new connection with the same credential, to
/// show that the session is cached. Pass the credential on standard input or with --file, never as
/// an argument; it is not shown. It is sent under TLS only, after the server's certificate was
/// verified. A ticket can be used only once: this command uses it up.
///
/// Exit status: 0 if every login succeeded, 1 if the server refused a login or does not offer the
/// mechanism, 2 if the result is unknown.
#[derive(Args)]
#[command(after_help = "Examples:
  sasl-sso login --imap mail.univ.example <ticket
  sasl-sso login --sieve mail.univ.example --wait 60 --file token
  sasl-sso login --pop3 mail.univ.example --mechanism LOGIN --user alice <ticket")]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// Start TLS with the connection [default: for ports 993 and 995]
    #[arg(long, conflicts_with_all = ["starttls", "plaintext"])]
    tls: bool,
    /// Start TLS with STARTTLS or STLS [default: for all other ports]
    #[arg(long, conflicts_with = "plaintext")]
    starttls: bool,
    /// Connect without TLS: anyone who can read the traffic can use the credential
    #[arg(long)]
    plaintext: bool,
    /// Name that the server's certificate must contain [default: HOST]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Trust the CAs in this file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Mechanism to use [default: CASPT for a ticket, OAUTHBEARER for a token]
    #[arg(long, value_enum, ignore_case = true, value_name = "NAME")]
    mechanism: Option<Mechanism>,
    /// User who logs in; required for LOGIN and for passwords
    #[arg(long, value_name = "NAME", value_parser = name)]
    user: Option<String>,
    /// User to act as, if not the user who logs in
    #[arg(long, value_name = "NAME", value_parser = name)]
    authzid: Option<String>,
    /// Read the credential from this file; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Number of logins after the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1000))]
    again: u32,
    /// Log in once more after this many seconds
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
    /// Time limit for each login, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Print one JSON object after the last login
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Server {
    /// IMAP server
    #[arg(long, value_name = "HOST[:PORT]")]
    imap: Option<ServerAddr>,
    /// POP3 server
    #[arg(long, value_name = "HOST[:PORT]")]
    pop3: Option<ServerAddr>,
    /// ManageSieve server
    #[arg(long, value_name = "HOST[:PORT]")]
    sieve: Option<ServerAddr>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
    match log_in(arguments, console) {
        Ok(status) => status,
        Err(problem) => {
            if arguments.json {
                console.line(json!({ "attempts": [], "problem": problem }));
            }
            console.print_error(format_args!("login: {problem}"));
            ExitStatus::Error
        }
    }
}

fn log_in(arguments: &Arguments, console: &mut Console) -> Result<ExitStatus, String> {
    let target = arguments.target()?;
    let credential = CredentialInput::read(arguments.file.as_deref(), console)?;
    let login = arguments.login(&target, &credential)?;
    if target.security == Security::None {
        console.print_error("login: without TLS; whoever listens in has the credential");
    }
    let attempts = arguments.attempts(&target, &login, console);
    if arguments.json {
        console.line(report::json(&attempts, &login));
    } else {
        report::table(&attempts, &login, console);
        if attempts.len() < arguments.logins() {
            console.line("\nThe logins that should have followed were left out.");
        }
    }
    let is = |wanted: Outcome| attempts.iter().any(|made| made.diagnosis.outcome == wanted);
    Ok(match () {
        () if attempts.iter().all(Attempt::succeeded) => ExitStatus::Success,
        () if is(Outcome::Refused) || is(Outcome::NotOffered) => ExitStatus::Failure,
        () => ExitStatus::Error,
    })
}

impl Arguments {
    /// The number of logins if all succeed.
    fn logins(&self) -> usize {
        1 + self.again as usize + usize::from(self.wait.is_some())
    }

    fn target(&self) -> Result<ServerTarget, String> {
        let (protocol, address) = match &self.server {
            Server { imap: Some(at), .. } => (Protocol::Imap, at),
            Server { pop3: Some(at), .. } => (Protocol::Pop3, at),
            Server {
                sieve: Some(at), ..
            } => (Protocol::Sieve, at),
            _ => return Err("where? Say --imap, --pop3 or --sieve".to_owned()),
        };
        let security = match () {
            () if self.tls => Security::Tls,
            () if self.starttls => Security::StartTls,
            () if self.plaintext => Security::None,
            () => address.default_security(),
        };
        let name = self.server_name.as_deref().unwrap_or(&address.host);
        let trust = match security {
            Security::None => None,
            _ => Some(TlsTrust::new(name, self.ca_file.as_deref())?),
        };
        Ok(ServerTarget {
            protocol,
            security,
            host: address.host.clone(),
            port: address.port(protocol, security),
            trust,
            timeout: Duration::from_secs(self.timeout.into()),
        })
    }

    fn login<'s>(
        &self,
        target: &ServerTarget,
        credential: &'s CredentialInput,
    ) -> Result<Login<'s>, String> {
        let default_mechanism = || credential.kind().map(Mechanism::for_kind);
        let mechanism = self.mechanism.or_else(default_mechanism).ok_or(
            "that is neither a ticket nor a token; to send it as a password, say --mechanism PLAIN",
        )?;
        let names = Names {
            user: self.user.clone().unwrap_or_default(),
            authzid: self.authzid.clone().unwrap_or_default(),
            host: target.host.clone(),
            port: target.port,
        };
        Login::new(target.protocol, mechanism, names, credential)
    }

    /// Performs the requested logins. It stops at the first failure: a refused credential is not
    /// sent again.
    fn attempts(
        &self,
        target: &ServerTarget,
        login: &Login,
        console: &mut Console,
    ) -> Vec<Attempt> {
        let waits = (0..=self.again).map(|_| None).chain(self.wait.map(Some));
        let mut attempts: Vec<Attempt> = Vec::new();
        for (number, wait) in waits.enumerate() {
            let name = match (number, wait) {
                (0, _) => "1 first".to_owned(),
                (_, None) => format!("{} again", number + 1),
                (_, Some(seconds)) => format!("{} after {seconds} s", number + 1),
            };
            if !self.json {
                console.line(format_args!(
                    "{}{name}",
                    if number == 0 { "" } else { "\n" }
                ));
            }
            if let Some(seconds) = wait {
                std::thread::sleep(Duration::from_secs(seconds.into()));
            }
            let live = (!self.json).then_some(&mut *console);
            let attempt = Attempt::run(name, target, login, number > 0, live);
            if !self.json {
                report::diagnosis(&attempt, console);
            }
            let succeeded = attempt.succeeded();
            attempts.push(attempt);
            if !succeeded {
                break;
            }
        }
        attempts
    }
}

/// Rejects a name with control characters.
fn name(text: &str) -> Result<String, String> {
    if text.chars().any(is_hidden) {
        return Err("has control characters in it".to_owned());
    }
    Ok(text.to_owned())
}
