//! One login over IMAP, as its three sides saw it.

use super::Outcome;
use super::harness::imap::{Imap, Reply};
use super::harness::syslog::Line;
use super::harness::wait::PATIENCE;
use super::page::Page;
use super::site::Site;

/// What a client shows, in the message of a mechanism.
pub struct Credential {
    mechanism: &'static str,
    message: String,
    /// The message for the page.
    shown: String,
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

    fn new(mechanism: &'static str, message: impl Fn(&str) -> String, secret: &str) -> Self {
        let shown = message(&abbreviated(secret));
        Self {
            mechanism,
            message: message(secret),
            shown: shown.replace('\0', "\\0").replace('\x01', "^A"),
        }
    }
}

/// What a login came to.
pub struct Login<'c> {
    credential: &'c Credential,
    reply: Reply,
    line: Line,
    /// How often CAS was asked to validate a ticket.
    asked: usize,
}

/// What a login is to come to.
pub struct Expected<'e> {
    /// How imapd's last line begins.
    pub status: &'e str,
    /// What is in its challenge, if there is one.
    pub challenge: Option<&'e str>,
    /// What stands in the plugin's line in the log.
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
        let Credential {
            mechanism, message, ..
        } = credential;
        let reply = imap.authenticate(mechanism, message.as_bytes(), &[b"\x01"]);
        let decision = format!("sso: mech={mechanism} ");
        let is_decision = |line: &Line| line.text.contains(&decision);
        let line = site.cyrus.log().wait_for_since(mark, is_decision, PATIENCE);
        Ok(Self {
            credential,
            asked: site.cas().validations() - before,
            line: line.ok_or_else(|| {
                let status = shortened(&reply.status_line);
                format!("imapd answered {status:?}, and the plugin logged nothing")
            })?,
            reply,
        })
    }

    /// The imapd process that decided.
    pub fn process(&self) -> u32 {
        self.line.pid
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
            // Who answers and who logs is one and the same.
            && self.reply.session_pid.is_none_or(|pid| pid == self.line.pid);
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
        let Credential {
            mechanism, shown, ..
        } = self.credential;
        page.said("client", &format!("AUTHENTICATE {mechanism} {shown}"))?;
        for challenge in self.challenges() {
            page.said("imapd", &format!("+ {challenge}"))?;
        }
        page.said("imapd", &shortened(&self.reply.status_line))?;
        let Line {
            ident, pid, text, ..
        } = &self.line;
        page.said("syslog", &format!("{ident}[{pid}]: {text}"))?;
        if *mechanism != "CASPT" {
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
