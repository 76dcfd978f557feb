//! One IMAP login, as the client, imapd and CAS see it.

use super::Outcome;
use super::page::Page;
use super::servers::DemoServers;
use test_support::imap::{Imap, Reply};
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// A credential and the way to present it.
pub struct Credential {
    method: Method,
    /// The command as it is printed.
    shown: String,
}

/// How a credential is presented.
enum Method {
    /// In the message of a SASL mechanism, which the plugin handles.
    Mechanism(&'static str, String),
    /// As the password of LOGIN, which the daemon handles.
    Password { user: String, password: String },
}

impl Credential {
    /// Creates a CASPT message with a ticket and without a user name.
    pub fn ticket(ticket: &str) -> Self {
        Self::new("CASPT", |ticket| format!("\0\0{ticket}"), ticket)
    }

    /// Creates an OAUTHBEARER message (RFC 7628) with a token.
    pub fn oauthbearer(token: &str) -> Self {
        let message = |token: &str| format!("n,,\x01auth=Bearer {token}\x01\x01");
        Self::new("OAUTHBEARER", message, token)
    }

    /// Creates an XOAUTH2 message with a user and a token.
    pub fn xoauth2(user: &str, token: &str) -> Self {
        let message = |token: &str| format!("user={user}\x01auth=Bearer {token}\x01\x01");
        Self::new("XOAUTH2", message, token)
    }

    /// Creates a LOGIN with anything as the password.
    pub fn password(user: &str, password: &str) -> Self {
        Self {
            shown: format!("LOGIN {user} {}", abbreviated(password)),
            method: Method::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            },
        }
    }

    fn new(mechanism: &'static str, message: impl Fn(&str) -> String, secret: &str) -> Self {
        let shown = message(&abbreviated(secret));
        let shown = shown.replace('\0', "\\0").replace('\x01', "^A");
        Self {
            shown: format!("AUTHENTICATE {mechanism} {shown}"),
            method: Method::Mechanism(mechanism, message(secret)),
        }
    }

    /// Returns the value of `mech=` in the log.
    fn logged_as(&self) -> &'static str {
        match self.method {
            Method::Mechanism(mechanism, _) => mechanism,
            Method::Password { .. } => "saslauthd",
        }
    }
}

/// A login and its outcome.
pub struct Login<'c> {
    credential: &'c Credential,
    reply: Reply,
    line: Line,
    /// The process that must have logged the outcome, if it is known otherwise.
    expected_pid: Option<u32>,
    /// The number of validations at the CAS server.
    asked: usize,
}

/// The expected outcome of a login.
pub struct Expected<'e> {
    /// The beginning of imapd's tagged reply.
    pub status: &'e str,
    /// A part of the challenge; `None` if there must not be one.
    pub challenge: Option<&'e str>,
    /// A part of the log line of the plugin or the daemon.
    pub logged: &'e str,
    /// The number of validations at the CAS server.
    pub asked: usize,
}

impl<'c> Login<'c> {
    /// Logs in on a new connection.
    pub fn by(servers: &DemoServers, credential: &'c Credential) -> Outcome<Self> {
        let mark = servers.cyrus.log().mark();
        let before = servers.cas().validations();
        let mut imap = Imap::connect(servers.cyrus.imap_port());
        let (reply, expected_pid) = match &credential.method {
            Method::Mechanism(mechanism, message) => {
                let reply = imap.authenticate(mechanism, message.as_bytes(), &[b"\x01"]);
                let expected_pid = reply.session_pid;
                (reply, expected_pid)
            }
            Method::Password { user, password } => {
                (imap.login(user, password), Some(servers.daemon.pid()))
            }
        };
        let outcome_start = format!("sso: mech={} ", credential.logged_as());
        let is_outcome = |line: &Line| line.text.contains(&outcome_start);
        let line = servers
            .cyrus
            .log()
            .wait_for_since(mark, is_outcome, PATIENCE);
        Ok(Self {
            credential,
            asked: servers.cas().validations() - before,
            line: line.ok_or_else(|| {
                let status = shortened(&reply.status_line);
                format!("imapd replied {status:?}, but no outcome was logged")
            })?,
            reply,
            expected_pid,
        })
    }

    /// Returns the imapd process that answered, from the log if the plugin handled the login, else
    /// from the reply, which names it only on success.
    pub fn process(&self) -> Option<u32> {
        match self.credential.method {
            Method::Mechanism(..) => Some(self.line.pid),
            Method::Password { .. } => self.reply.session_pid,
        }
    }

    /// Returns an error if the outcome is not the expected one.
    pub fn check(self, expected: &Expected<'_>) -> Outcome<Self> {
        let status = &self.reply.status_line;
        let challenges: Vec<_> = self.challenges().collect();
        let as_expected = status.starts_with(expected.status)
            && challenges.len() == usize::from(expected.challenge.is_some())
            && challenges
                .iter()
                .all(|text| text.contains(expected.challenge.unwrap_or_default()))
            && self.line.text.contains(&format!(" {} ", expected.logged))
            && self.asked == expected.asked
            // The expected process has logged the outcome.
            && self.expected_pid.is_none_or(|pid| pid == self.line.pid);
        match as_expected {
            true => Ok(self),
            false => Err(format!(
                "expected {:?}, challenge {:?}, log {:?}, CAS asked {} times;\n\
                 got {:?}, challenges {challenges:?}, log {:?}, CAS asked {} times",
                expected.status,
                expected.challenge,
                expected.logged,
                expected.asked,
                shortened(status),
                self.line.text,
                self.asked
            )
            .into()),
        }
    }

    /// Prints the login.
    pub fn print(&self, page: &Page) -> Outcome {
        page.message("client", &self.credential.shown)?;
        for challenge in self.challenges() {
            page.message("imapd", &format!("+ {challenge}"))?;
        }
        page.message("imapd", &shortened(&self.reply.status_line))?;
        let Line {
            ident, pid, text, ..
        } = &self.line;
        page.message("syslog", &format!("{ident}[{pid}]: {text}"))?;
        // CAS is not involved in logins with tokens.
        if ["OAUTHBEARER", "XOAUTH2"].contains(&self.credential.logged_as()) {
            return Ok(());
        }
        let asked = match self.asked {
            0 if text.contains(" outcome=unavailable ") => "could not be asked".to_owned(),
            0 => "was not asked".to_owned(),
            1 => "was asked once".to_owned(),
            asked => format!("was asked {asked} times"),
        };
        Ok(page.message("CAS", &asked)?)
    }

    fn challenges(&self) -> impl Iterator<Item = String> {
        let challenges = self.reply.challenges.iter();
        challenges.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Returns the first 9 and the last 6 characters of a long ticket or token.
fn abbreviated(ticket: &str) -> String {
    let chars: Vec<char> = ticket.chars().collect();
    match chars.len() {
        ..=16 => ticket.to_owned(),
        length => [&chars[..9], &['…'], &chars[length - 6..]]
            .concat()
            .iter()
            .collect(),
    }
}

/// Shortens a reply of imapd: omits the capabilities and the random part of the session ID.
pub fn shortened(line: &str) -> String {
    let line = without(line, "[CAPABILITY ", "]");
    match line.split_once("SESSIONID=<") {
        // A session ID has the form HOST-TIME-PROCESS-NUMBER-RANDOM.
        Some((_, name)) => match name.rsplit_once('-') {
            Some((kept, _)) => without(&line, &format!("{kept}-"), ">"),
            None => line,
        },
        None => line,
    }
}

fn without(line: &str, before: &str, after: &str) -> String {
    let found = line
        .split_once(before)
        .and_then(|(head, rest)| Some((head, rest.split_once(after)?.1)));
    match found {
        Some((head, tail)) => format!("{head}{before}…{after}{tail}"),
        None => line.to_owned(),
    }
}
