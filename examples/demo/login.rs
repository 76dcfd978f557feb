//! One login over IMAP, as its three sides saw it.

use super::Outcome;
use super::harness::imap::{Imap, Reply};
use super::harness::syslog::Line;
use super::harness::wait::PATIENCE;
use super::page::Page;
use super::site::Site;

/// What a client shows, and how.
pub struct Credential {
    way: Way,
    /// The command for the page.
    shown: String,
}

/// How it is shown.
enum Way {
    /// By AUTHENTICATE, in the message of a mechanism: the plugin decides.
    Mechanism(&'static str, String),
    /// By LOGIN, as the password of a user: the daemon decides.
    Password { user: String, password: String },
}

impl Credential {
    /// A ticket, without a user's name beside it.
    pub fn ticket(ticket: &str) -> Self {
        Self::new("CASPT", |ticket| format!("\0\0{ticket}"), ticket)
    }

    /// A token, by RFC 7628.
    pub fn oauthbearer(token: &str) -> Self {
        let message = |token: &str| format!("n,,\x01auth=Bearer {token}\x01\x01");
        Self::new("OAUTHBEARER", message, token)
    }

    /// A token, and whose it is.
    pub fn xoauth2(user: &str, token: &str) -> Self {
        let message = |token: &str| format!("user={user}\x01auth=Bearer {token}\x01\x01");
        Self::new("XOAUTH2", message, token)
    }

    /// Anything where a password is expected.
    pub fn password(user: &str, password: &str) -> Self {
        Self {
            shown: format!("LOGIN {user} {}", abbreviated(password)),
            way: Way::Password {
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
            way: Way::Mechanism(mechanism, message(secret)),
        }
    }

    /// What the log calls the way.
    fn logged_as(&self) -> &'static str {
        match self.way {
            Way::Mechanism(mechanism, _) => mechanism,
            Way::Password { .. } => "saslauthd",
        }
    }
}

/// What a login came to.
pub struct Login<'c> {
    credential: &'c Credential,
    reply: Reply,
    line: Line,
    /// The process that is to have decided, unless only the log can say.
    decides: Option<u32>,
    /// How often CAS was asked to validate a ticket.
    asked: usize,
}

/// What a login is to come to.
pub struct Expected<'e> {
    /// How imapd's last line begins.
    pub status: &'e str,
    /// What is in its challenge, if there is one.
    pub challenge: Option<&'e str>,
    /// What stands in the line in the log of the plugin or the daemon.
    pub logged: &'e str,
    /// How often CAS was asked.
    pub asked: usize,
}

impl<'c> Login<'c> {
    /// Logs in on a connection of its own.
    pub fn by(site: &Site, credential: &'c Credential) -> Outcome<Self> {
        let mark = site.cyrus.log().mark();
        let before = site.cas().validations();
        let mut imap = Imap::connect(site.cyrus.imap_port());
        let (reply, decides) = match &credential.way {
            Way::Mechanism(mechanism, message) => {
                let reply = imap.authenticate(mechanism, message.as_bytes(), &[b"\x01"]);
                let decides = reply.session_pid;
                (reply, decides)
            }
            Way::Password { user, password } => {
                (imap.login(user, password), Some(site.daemon.pid()))
            }
        };
        let decision = format!("sso: mech={} ", credential.logged_as());
        let is_decision = |line: &Line| line.text.contains(&decision);
        let line = site.cyrus.log().wait_for_since(mark, is_decision, PATIENCE);
        Ok(Self {
            credential,
            asked: site.cas().validations() - before,
            line: line.ok_or_else(|| {
                let status = shortened(&reply.status_line);
                format!("imapd answered {status:?}, and no decision was logged")
            })?,
            reply,
            decides,
        })
    }

    /// The imapd process that answered. It says so only if it lets somebody in; where the plugin
    /// decides, the log says it too.
    pub fn process(&self) -> Option<u32> {
        match self.credential.way {
            Way::Mechanism(..) => Some(self.line.pid),
            Way::Password { .. } => self.reply.session_pid,
        }
    }

    /// Fails unless it came to what it should.
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
            // Who logs is who was asked.
            && self.decides.is_none_or(|pid| pid == self.line.pid);
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

    /// Prints it.
    pub fn print(&self, page: &Page) -> Outcome {
        page.said("client", &self.credential.shown)?;
        for challenge in self.challenges() {
            page.said("imapd", &format!("+ {challenge}"))?;
        }
        page.said("imapd", &shortened(&self.reply.status_line))?;
        let Line {
            ident, pid, text, ..
        } = &self.line;
        page.said("syslog", &format!("{ident}[{pid}]: {text}"))?;
        // CAS has no part in tokens.
        if ["OAUTHBEARER", "XOAUTH2"].contains(&self.credential.logged_as()) {
            return Ok(());
        }
        let asked = match self.asked {
            0 if text.contains(" outcome=unavailable ") => "could not be asked".to_owned(),
            0 => "was not asked".to_owned(),
            1 => "was asked once".to_owned(),
            asked => format!("was asked {asked} times"),
        };
        Ok(page.said("CAS", &asked)?)
    }

    fn challenges(&self) -> impl Iterator<Item = String> {
        let challenges = self.reply.challenges.iter();
        challenges.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Both ends of a ticket or a token.
fn abbreviated(ticket: &str) -> String {
    let letters: Vec<char> = ticket.chars().collect();
    match letters.len() {
        ..=16 => ticket.to_owned(),
        length => [&letters[..9], &['…'], &letters[length - 6..]]
            .concat()
            .iter()
            .collect(),
    }
}

/// A line of imapd without its many capabilities and the random end of its session's name.
pub fn shortened(line: &str) -> String {
    let line = without(line, "[CAPABILITY ", "]");
    match line.split_once("SESSIONID=<") {
        // The name is HOST-TIME-PROCESS-NUMBER-RANDOM.
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
