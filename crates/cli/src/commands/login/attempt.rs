//! One login, from the connection to the leave.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::connection::Link;
use super::diagnosis::{Ending, Outcome};
use super::imap::Imap;
use super::managesieve::Sieve;
use super::mechanism::Login;
use super::pop3::Pop3;
use super::protocol::{Capabilities, Dialect};
use super::server_addr::{Protocol, Security};
use super::tls::Trust;
use super::transcript::{Entry, Transcript};
use crate::term::console::Console;

/// How long the server may take for its leave.
const LEAVE: Duration = Duration::from_secs(5);

/// Where to log in, and how.
pub(crate) struct Place {
    pub(crate) protocol: Protocol,
    pub(crate) security: Security,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// None where there is no TLS.
    pub(crate) trust: Option<Trust>,
    /// For all of one login.
    pub(crate) timeout: Duration,
}

/// How long the parts of a login took, as far as it went.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) connect: Option<Duration>,
    pub(crate) tls: Option<Duration>,
    /// From the credential's first byte to the server's decision.
    pub(crate) login: Option<Duration>,
}

/// A login that was tried.
pub(crate) struct Attempt {
    pub(crate) name: String,
    pub(crate) ending: Ending,
    pub(crate) times: Times,
    pub(crate) entries: Vec<Entry>,
}

impl Attempt {
    /// Logs in; `was_good` if the server took the same credential before.
    pub(crate) fn make(
        name: String,
        place: &Place,
        login: &Login,
        was_good: bool,
        live: Option<&mut Console>,
    ) -> Self {
        let mut transcript = Transcript::begin(login.secret, live);
        let mut times = Times::default();
        let ending = converse(place, login, was_good, &mut transcript, &mut times)
            .unwrap_or_else(Ending::failed);
        let ending = Ending {
            means: transcript.cleaned(&ending.means),
            ..ending
        };
        Self {
            name,
            ending,
            times,
            entries: transcript.entries(),
        }
    }

    /// Whether the credential was taken.
    pub(crate) fn is_good(&self) -> bool {
        self.ending.outcome == Outcome::LoggedIn
    }
}

fn converse(
    place: &Place,
    login: &Login,
    was_good: bool,
    transcript: &mut Transcript<'_>,
    times: &mut Times,
) -> Result<Ending, String> {
    let begin = Instant::now();
    let end = begin + place.timeout;
    let mut link = Link::connect(&place.host, place.port, end, transcript)?;
    times.connect = Some(begin.elapsed());
    let mut dialect = conversation(place.protocol);
    if place.security == Security::Tls {
        secure(&mut link, place, times)?;
    }
    dialect.greeting(&mut link)?;
    let mut capabilities = learn(&mut *dialect, &mut link)?;
    if place.security == Security::StartTls {
        if !capabilities.starttls {
            return Err(without_starttls(place.protocol));
        }
        let begin = Instant::now();
        dialect.start_tls(&mut link)?;
        secure(&mut link, place, times)?;
        times.tls = Some(begin.elapsed());
        // What was said before TLS may be anybody's.
        capabilities = learn(&mut *dialect, &mut link)?;
    }
    if !capabilities.offer(login.mechanism) {
        leave(&mut *dialect, &mut link);
        let is_secure = link.is_secure();
        return Ok(Ending::not_offered(
            login.mechanism,
            &capabilities,
            is_secure,
        ));
    }
    let begin = Instant::now();
    let reply = dialect.log_in(&mut link, login, &capabilities)?;
    times.login = Some(begin.elapsed());
    leave(&mut *dialect, &mut link);
    Ok(Ending::of_reply(&reply, login, was_good))
}

fn secure(link: &mut Link, place: &Place, times: &mut Times) -> Result<(), String> {
    let begin = Instant::now();
    let trust = place.trust.as_ref().ok_or("nobody said whom to trust")?;
    link.secure(trust)?;
    times.tls = Some(begin.elapsed());
    Ok(())
}

fn learn(dialect: &mut dyn Dialect, link: &mut Link) -> Result<Capabilities, String> {
    let capabilities = dialect.capabilities(link)?;
    let state = match link.is_secure() {
        true => "under TLS",
        false => "without TLS",
    };
    let mechanisms = match &capabilities.mechanisms[..] {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    link.transcript
        .note(format!("{state} the server offers {mechanisms}"));
    Ok(capabilities)
}

/// timsieved 3.6.1 crashes when who has logged in goes without a word; and whatever goes
/// wrong here, the server has decided.
fn leave(dialect: &mut dyn Dialect, link: &mut Link) {
    link.hurry(LEAVE);
    if let Err(problem) = dialect.log_out(link) {
        link.transcript.note(format!("no leave taken: {problem}"));
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

/// A conversation in this protocol, from its beginning.
fn conversation(protocol: Protocol) -> Box<dyn Dialect> {
    match protocol {
        Protocol::Imap => Box::new(Imap::default()),
        Protocol::Pop3 => Box::new(Pop3),
        Protocol::Sieve => Box::new(Sieve),
    }
}
