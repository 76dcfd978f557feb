//! Performs a login by any method and classifies its failure.

use std::time::Duration;
use test_support::imap::{Imap, Reply};
use test_support::libsasl2::token_site::oauthbearer;

/// How a client presents a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginMethod {
    Caspt,
    OAuthBearer,
    XOAuth2,
    /// AUTHENTICATE PLAIN, which imapd passes to the daemon.
    Plain,
    /// LOGIN, which imapd passes to the daemon.
    Login,
}

impl LoginMethod {
    pub const OF_TICKETS: [Self; 4] = [Self::Caspt, Self::Caspt, Self::Plain, Self::Login];
    pub const OF_TOKENS: [Self; 4] = [Self::OAuthBearer, Self::XOAuth2, Self::Plain, Self::Login];
    pub const OF_PASSWORDS: [Self; 2] = [Self::Plain, Self::Login];

    /// Returns whether imapd passes the login to the daemon.
    pub fn is_by_daemon(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }
}

/// The kind of failure that the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The connection was closed or could not be opened.
    Disconnected,
    /// The credential could not be validated.
    Outage,
    /// The credential was refused.
    Refusal,
}

/// Classifies the failure of a login. Returns `None` if the login succeeded.
pub fn failure_of(reply: &Reply) -> Option<Failure> {
    let says = |text: &str| reply.status_line.contains(text);
    match () {
        () if reply.ok => None,
        () if reply.status_line.is_empty() => Some(Failure::Disconnected),
        () if says("generic failure") || says("unavailable") => Some(Failure::Outage),
        () => Some(Failure::Refusal),
    }
}

/// Time-out of a reply, longer than any reply takes on a heavily loaded machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(180);

/// Connects to imapd. Returns `None` if there is no server.
pub fn connect(port: u16) -> Option<Imap> {
    let mut imap = Imap::try_connect(port)?;
    imap.set_timeout(REPLY_TIMEOUT);
    Some(imap)
}

/// Logs in with a credential.
pub fn log_in(imap: &mut Imap, method: LoginMethod, user: &str, secret: &str) -> Reply {
    let plain = format!("\0{user}\0{secret}").into_bytes();
    match method {
        LoginMethod::Caspt => imap.authenticate("CASPT", &plain, &[b"\x01"]),
        LoginMethod::Plain => imap.authenticate("PLAIN", &plain, &[]),
        LoginMethod::Login => imap.login(user, secret),
        LoginMethod::OAuthBearer => {
            let message = oauthbearer(secret);
            let named = [format!("n,a={user},").as_bytes(), &message[3..]].concat();
            imap.authenticate("OAUTHBEARER", &named, &[b"\x01"])
        }
        LoginMethod::XOAuth2 => {
            let message = format!("user={user}\x01auth=Bearer {secret}\x01\x01");
            imap.authenticate("XOAUTH2", message.as_bytes(), &[b""])
        }
    }
}

/// Returns the name of the mailbox that only this user has.
pub fn marker_mailbox(user: &str) -> String {
    format!("of-{user}")
}

/// Returns the owners of the visible mailboxes, by their [`marker_mailbox`]. Returns `None` if the
/// connection was closed.
pub fn mailbox_owners(imap: &mut Imap) -> Option<Vec<String>> {
    let reply = imap.command("LIST \"\" \"*of-*\"");
    let name = |line: &String| {
        let (_, name) = line.rsplit_once("of-")?;
        Some(name.trim_matches('"').to_owned())
    };
    reply
        .ok
        .then(|| reply.untagged.iter().filter_map(name).collect())
}
