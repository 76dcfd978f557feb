//! `sasl-sso login`: a login to a real server, as a client makes it.

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
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod transcript;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Status;
use crate::term::console::Console;
use attempt::{Attempt, Place};
use credential_input::Secret;
use diagnosis::Outcome;
use mechanism::{Login, Mechanism, Names};
use server_addr::{Address, Protocol, Security};
use sso_core::platform::log::is_hidden;
use tls::Trust;

/// Log in to a mail server with a ticket or a token, and show each exchange.
///
/// It logs in, and once more on a new connection with the same credential, which shows
/// the session at work. The credential comes on standard input or by --file, never as
/// an argument, and is shown nowhere. It is sent under TLS, to a server whose
/// certificate was verified. A ticket is used up by it.
///
/// Exit status: 0 if every login went well, 1 if the server refused one or does not
/// offer the mechanism, 2 if it could not be found out.
#[derive(Args)]
#[command(after_help = "Examples:
  sasl-sso login --imap mail.univ.example <ticket
  sasl-sso login --sieve mail.univ.example --wait 60 --file token
  sasl-sso login --pop3 mail.univ.example --mechanism LOGIN --user alice <ticket")]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// TLS from the start [default: for the ports 993 and 995]
    #[arg(long, conflicts_with_all = ["starttls", "plaintext"])]
    tls: bool,
    /// TLS by the protocol's own command [default: for all other ports]
    #[arg(long, conflicts_with = "plaintext")]
    starttls: bool,
    /// No TLS: who listens in has the credential, and can use it
    #[arg(long)]
    plaintext: bool,
    /// The name that the certificate must be for [default: HOST]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// CAs to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How to send it [default: CASPT for a ticket, OAUTHBEARER for a token]
    #[arg(long, value_enum, ignore_case = true, value_name = "NAME")]
    mechanism: Option<Mechanism>,
    /// Who logs in; tickets and tokens say so themselves, but not with LOGIN
    #[arg(long, value_name = "NAME", value_parser = name)]
    user: Option<String>,
    /// Whom to act as, if not as oneself
    #[arg(long, value_name = "NAME", value_parser = name)]
    authzid: Option<String>,
    /// The file with the credential, - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many more logins follow the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1000))]
    again: u32,
    /// And one more so many seconds later
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u32>,
    /// Seconds for each of them, all in all
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Everything as one JSON object, when all is over
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Server {
    /// The server, of IMAP
    #[arg(long, value_name = "HOST[:PORT]")]
    imap: Option<Address>,
    /// The server, of POP3
    #[arg(long, value_name = "HOST[:PORT]")]
    pop3: Option<Address>,
    /// The server, of ManageSieve
    #[arg(long, value_name = "HOST[:PORT]")]
    sieve: Option<Address>,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    match log_in(arguments, console) {
        Ok(status) => status,
        Err(problem) => {
            if arguments.json {
                console.line(json!({ "attempts": [], "problem": problem }));
            }
            console.complain(format_args!("login: {problem}"));
            Status::Unusable
        }
    }
}

fn log_in(arguments: &Arguments, console: &mut Console) -> Result<Status, String> {
    let place = arguments.place()?;
    let secret = Secret::read(arguments.file.as_deref(), console)?;
    let login = arguments.login(&place, &secret)?;
    if place.security == Security::None {
        console.complain("login: without TLS; whoever listens in has the credential");
    }
    let attempts = arguments.attempts(&place, &login, console);
    if arguments.json {
        console.line(report::json(&attempts, &login));
    } else {
        report::table(&attempts, &login, console);
        if attempts.len() < arguments.logins() {
            console.line("\nThe logins that should have followed were left out.");
        }
    }
    let is = |wanted: Outcome| attempts.iter().any(|made| made.ending.outcome == wanted);
    Ok(match () {
        () if attempts.iter().all(Attempt::is_good) => Status::Good,
        () if is(Outcome::Refused) || is(Outcome::NotOffered) => Status::Bad,
        () => Status::Unusable,
    })
}

impl Arguments {
    /// How many there are if all go well.
    fn logins(&self) -> usize {
        1 + self.again as usize + usize::from(self.wait.is_some())
    }

    fn place(&self) -> Result<Place, String> {
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
            () => address.usual_security(),
        };
        let name = self.server_name.as_deref().unwrap_or(&address.host);
        let trust = match security {
            Security::None => None,
            _ => Some(Trust::new(name, self.ca_file.as_deref())?),
        };
        Ok(Place {
            protocol,
            security,
            host: address.host.clone(),
            port: address.port(protocol, security),
            trust,
            timeout: Duration::from_secs(self.timeout.into()),
        })
    }

    fn login<'s>(&self, place: &Place, secret: &'s Secret) -> Result<Login<'s>, String> {
        let of_kind = || secret.kind().map(Mechanism::of_kind);
        let mechanism = self.mechanism.or_else(of_kind).ok_or(
            "that is neither a ticket nor a token; to send it as a password, say --mechanism PLAIN",
        )?;
        let names = Names {
            user: self.user.clone().unwrap_or_default(),
            authzid: self.authzid.clone().unwrap_or_default(),
            host: place.host.clone(),
            port: place.port,
        };
        Login::new(place.protocol, mechanism, names, secret)
    }

    /// Logs in as often as was asked for, or until it does not go well: a credential that
    /// was refused once is not tried again.
    fn attempts(&self, place: &Place, login: &Login, console: &mut Console) -> Vec<Attempt> {
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
            let attempt = Attempt::make(name, place, login, number > 0, live);
            if !self.json {
                report::ending(&attempt, console);
            }
            let is_good = attempt.is_good();
            attempts.push(attempt);
            if !is_good {
                break;
            }
        }
        attempts
    }
}

/// A name that can be in a message.
fn name(text: &str) -> Result<String, String> {
    if text.chars().any(is_hidden) {
        return Err("has control characters in it".to_owned());
    }
    Ok(text.to_owned())
}
