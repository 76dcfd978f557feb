//! One login, from the connection to the logout.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::diagnosis::{Diagnosis, Outcome};
use super::imap::Imap;
use super::managesieve::Sieve;
use super::mechanism::Login;
use super::pop3::Pop3;
use super::protocol::{Capabilities, MailProtocol};
use super::server_addr::{Protocol, Security};
use super::tls::TlsTrust;
use super::transcript::{Entry, Transcript};
use crate::term::console::Console;

/// How long the server may take to answer the logout command.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The server to log in to, and how to connect to it.
pub(crate) struct ServerTarget {
    pub(crate) protocol: Protocol,
    pub(crate) security: Security,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None` for a connection without TLS.
    pub(crate) trust: Option<TlsTrust>,
    /// The time limit of one login, from the connection to the logout.
    pub(crate) timeout: Duration,
}

/// How long each phase of a login took; `None` for a phase that was not completed.
#[derive(Default)]
pub(crate) struct Timings {
    pub(crate) connect: Option<Duration>,
    pub(crate) tls: Option<Duration>,
    /// From the first byte of the credential to the server's decision.
    pub(crate) login: Option<Duration>,
}

/// A completed login attempt.
pub(crate) struct Attempt {
    pub(crate) name: String,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) timings: Timings,
    pub(crate) entries: Vec<Entry>,
}

impl Attempt {
    /// Logs in. `accepted_before` is set if the server accepted the same credential before.
    pub(crate) fn run(
        name: String,
        target: &ServerTarget,
        login: &Login,
        accepted_before: bool,
        live: Option<&mut Console>,
    ) -> Self {
        let mut transcript = Transcript::begin(login.credential, live);
        let mut timings = Timings::default();
        let diagnosis = run_login(
            target,
            login,
            accepted_before,
            &mut transcript,
            &mut timings,
        )
        .unwrap_or_else(Diagnosis::failed);
        let diagnosis = Diagnosis {
            explanation: transcript.sanitized(&diagnosis.explanation),
            ..diagnosis
        };
        Self {
            name,
            diagnosis,
            timings,
            entries: transcript.entries(),
        }
    }

    /// Whether the server accepted the credential.
    pub(crate) fn succeeded(&self) -> bool {
        self.diagnosis.outcome == Outcome::LoggedIn
    }
}

fn run_login(
    target: &ServerTarget,
    login: &Login,
    accepted_before: bool,
    transcript: &mut Transcript<'_>,
    timings: &mut Timings,
) -> Result<Diagnosis, String> {
    let begin = Instant::now();
    let end = begin + target.timeout;
    let mut connection = Connection::connect(&target.host, target.port, end, transcript)?;
    timings.connect = Some(begin.elapsed());
    let mut client = protocol_client(target.protocol);
    if target.security == Security::Tls {
        secure(&mut connection, target, timings)?;
    }
    client.greeting(&mut connection)?;
    let mut capabilities = read_capabilities(&mut *client, &mut connection)?;
    if target.security == Security::StartTls {
        if !capabilities.starttls {
            return Err(without_starttls(target.protocol));
        }
        let begin = Instant::now();
        client.start_tls(&mut connection)?;
        secure(&mut connection, target, timings)?;
        timings.tls = Some(begin.elapsed());
        // An attacker can forge the capabilities that are sent before TLS.
        capabilities = read_capabilities(&mut *client, &mut connection)?;
    }
    if !capabilities.offer(login.mechanism) {
        log_out(&mut *client, &mut connection);
        let is_secure = connection.is_secure();
        return Ok(Diagnosis::not_offered(
            login.mechanism,
            &capabilities,
            is_secure,
        ));
    }
    let begin = Instant::now();
    let reply = client.log_in(&mut connection, login, &capabilities)?;
    timings.login = Some(begin.elapsed());
    log_out(&mut *client, &mut connection);
    Ok(Diagnosis::of_reply(&reply, login, accepted_before))
}

fn secure(
    connection: &mut Connection,
    target: &ServerTarget,
    timings: &mut Timings,
) -> Result<(), String> {
    let begin = Instant::now();
    let trust = target.trust.as_ref().ok_or("nobody said whom to trust")?;
    connection.secure(trust)?;
    timings.tls = Some(begin.elapsed());
    Ok(())
}

fn read_capabilities(
    client: &mut dyn MailProtocol,
    connection: &mut Connection,
) -> Result<Capabilities, String> {
    let capabilities = client.capabilities(connection)?;
    let state = match connection.is_secure() {
        true => "under TLS",
        false => "without TLS",
    };
    let mechanisms = match &capabilities.mechanisms[..] {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    connection
        .transcript
        .note(format!("{state} the server offers {mechanisms}"));
    Ok(capabilities)
}

/// Logs out. timsieved 3.6.1 crashes if an authenticated client disconnects without a logout. A
/// failure is only noted: the server has decided on the login already.
fn log_out(client: &mut dyn MailProtocol, connection: &mut Connection) {
    connection.shorten_deadline(LOGOUT_TIMEOUT);
    if let Err(problem) = client.log_out(connection) {
        connection
            .transcript
            .note(format!("no leave taken: {problem}"));
    }
}

fn without_starttls(protocol: Protocol) -> String {
    let usual = match protocol {
        Protocol::Imap => "--tls is for port 993",
        Protocol::Pop3 => "--tls is for port 995",
        Protocol::Sieve => "is it the right port?",
    };
    format!(
        "the server offers no TLS, and nothing was sent in the clear: set tls_server_cert and \
         tls_server_key ({usual}; --plaintext would send the credential as it is)"
    )
}

/// The client of a protocol, at the start of a connection.
fn protocol_client(protocol: Protocol) -> Box<dyn MailProtocol> {
    match protocol {
        Protocol::Imap => Box::new(Imap::default()),
        Protocol::Pop3 => Box::new(Pop3),
        Protocol::Sieve => Box::new(Sieve),
    }
}
