//! One login, by any of the ways that there are, and how it failed.

use crate::harness::imap::{Imap, Reply};
use crate::libsasl2::token_site::oauthbearer;
use std::time::Duration;

/// How a credential is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Caspt,
    OAuthBearer,
    XOAuth2,
    /// AUTHENTICATE PLAIN, which the daemon answers.
    Plain,
    /// LOGIN, which the daemon answers.
    Login,
}

impl Way {
    pub const OF_TICKETS: [Self; 4] = [Self::Caspt, Self::Caspt, Self::Plain, Self::Login];
    pub const OF_TOKENS: [Self; 4] = [Self::OAuthBearer, Self::XOAuth2, Self::Plain, Self::Login];
    pub const OF_PASSWORDS: [Self; 2] = [Self::Plain, Self::Login];

    /// Whether the daemon answers it.
    pub fn is_by_daemon(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }
}

/// How a login failed, by what the client hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// There is no connection any more, or was none.
    Cut,
    /// Nobody could say whether the credential is good.
    Outage,
    /// It is not good.
    Refusal,
}

/// How this login failed, if it did.
pub fn loss(reply: &Reply) -> Option<Loss> {
    let says = |text: &str| reply.status_line.contains(text);
    match () {
        () if reply.ok => None,
        () if reply.status_line.is_empty() => Some(Loss::Cut),
        () if says("generic failure") || says("unavailable") => Some(Loss::Outage),
        () => Some(Loss::Refusal),
    }
}

/// Longer than any answer takes, on a machine that others use too.
const PATIENCE: Duration = Duration::from_secs(180);

/// A connection, if there is a server.
pub fn connect(port: u16) -> Option<Imap> {
    let mut imap = Imap::try_connect(port)?;
    imap.set_timeout(PATIENCE);
    Some(imap)
}

/// Presents a credential.
pub fn log_in(imap: &mut Imap, way: Way, user: &str, secret: &str) -> Reply {
    let plain = format!("\0{user}\0{secret}").into_bytes();
    match way {
        Way::Caspt => imap.authenticate("CASPT", &plain, &[b"\x01"]),
        Way::Plain => imap.authenticate("PLAIN", &plain, &[]),
        Way::Login => imap.login(user, secret),
        Way::OAuthBearer => {
            let message = oauthbearer(secret);
            let named = [format!("n,a={user},").as_bytes(), &message[3..]].concat();
            imap.authenticate("OAUTHBEARER", &named, &[b"\x01"])
        }
        Way::XOAuth2 => {
            let message = format!("user={user}\x01auth=Bearer {secret}\x01\x01");
            imap.authenticate("XOAUTH2", message.as_bytes(), &[b""])
        }
    }
}

/// The mailbox that only this user has.
pub fn mark_of(user: &str) -> String {
    format!("of-{user}")
}

/// Whose mailboxes a connection shows, by the marks of [`mark_of`]; none if it is cut.
pub fn whose(imap: &mut Imap) -> Option<Vec<String>> {
    let reply = imap.command("LIST \"\" \"*of-*\"");
    let name = |line: &String| {
        let (_, name) = line.rsplit_once("of-")?;
        Some(name.trim_matches('"').to_owned())
    };
    reply
        .ok
        .then(|| reply.untagged.iter().filter_map(name).collect())
}
