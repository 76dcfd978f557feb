//! The connections: each logs in, looks whose mailboxes it has, stays for a while, and comes again.

use super::ledger::{Failed, Subject};
use super::login::{Loss, Way, connect, log_in, loss, whose};
use super::run::Run;
use super::site::{password_of, read, users_with_passwords};
use super::stock::{Credential, Kind};
use crate::harness::dice::Dice;
use crate::harness::imap::Imap;
use crate::harness::imap_reply::Reply;
use std::sync::Arc;
use std::time::Instant;

/// How a login goes.
pub struct Login<'l> {
    pub way: Way,
    pub user: &'l str,
    pub secret: &'l str,
    /// For the reader of the report.
    pub what: &'l str,
}

impl Run<'_> {
    /// One connection after the other until the end.
    pub fn keep_a_connection(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(100, 500)) {
            match dice.roll(100) {
                0..16 => self.present_something_wrong(&mut dice),
                16..21 => self.present_a_password(&mut dice),
                21..36 => self.present_something_new(&mut dice),
                _ => self.present_something_known(&mut dice),
            }
        }
    }

    fn present_a_password(&self, dice: &mut Dice) {
        let users: Vec<String> = users_with_passwords().collect();
        let user = dice.pick(&users);
        let login = Login {
            way: *dice.pick(&Way::OF_PASSWORDS),
            user,
            secret: &password_of(user),
            what: "an ordinary password",
        };
        let begin = Instant::now();
        if let Some(imap) = self.is_let_in(&login, &Subject::Password, begin) {
            self.stay(imap, user, dice);
        }
    }

    fn present_something_new(&self, dice: &mut Dice) {
        match self.stock.take_new() {
            Some(credential) => self.present(&credential, Instant::now(), dice),
            None => self.present_something_known(dice),
        }
    }

    fn present_something_known(&self, dice: &mut Dice) {
        // Before it is chosen: what comes between is to be seen.
        let begin = Instant::now();
        if let Some(credential) = self.stock.known(dice) {
            self.present(&credential, begin, dice);
        }
    }

    fn present(&self, credential: &Arc<Credential>, begin: Instant, dice: &mut Dice) {
        let (is_known, first) = credential.begin();
        let (subject, what, ways) = match (credential.kind, is_known) {
            (Kind::Ticket, true) => (Subject::KnownTicket, "a known ticket", &Way::OF_TICKETS),
            (Kind::Ticket, false) => {
                let subject = Subject::NewTicket(first);
                (subject, "a new ticket", &Way::OF_TICKETS)
            }
            (Kind::Token(keys), true) => (Subject::Token(keys), "a known token", &Way::OF_TOKENS),
            (Kind::Token(keys), false) => (Subject::Token(keys), "a new token", &Way::OF_TOKENS),
        };
        let user = &credential.user;
        let login = Login {
            way: *dice.pick(ways),
            user,
            secret: &credential.secret,
            what,
        };
        if let Some(imap) = self.is_let_in(&login, &subject, begin) {
            let is_void = || match credential.kind {
                Kind::Ticket => self.ledger.was_flushed(user, begin),
                Kind::Token(keys) => keys + 2 <= self.site.generation(),
            };
            self.stock.keep(credential, is_void, dice);
            self.stay(imap, user, dice);
        }
    }

    /// A login that is to succeed; the connection if it does, and is that user's.
    pub fn is_let_in(&self, login: &Login<'_>, subject: &Subject, begin: Instant) -> Option<Imap> {
        let (imap, reply) = self.log_in(login);
        self.tally.tried(login.what);
        let Some(loss) = loss(&reply) else {
            let mut imap = imap?;
            let seen = whose(&mut imap);
            let right = seen.as_ref().is_none_or(|users| *users == [login.user]);
            if !right {
                let what = format!("{login} sees the mailboxes of {seen:?}");
                self.tally.wrong(what, self.log_of());
            }
            if seen.is_none() {
                self.failed(login, subject, Loss::Cut, (begin, "LIST", &reply));
                return None;
            }
            self.tally.let_in(login.what);
            return Some(imap);
        };
        self.failed(login, subject, loss, (begin, "login", &reply));
        None
    }

    /// The answer to a login; one without a word if there is no server.
    pub fn log_in(&self, login: &Login<'_>) -> (Option<Imap>, Reply) {
        let Some(mut imap) = connect(self.site.port) else {
            return (None, Reply::default());
        };
        let reply = log_in(&mut imap, login.way, login.user, login.secret);
        (Some(imap), reply)
    }

    /// Notes a failure that was not to be, with what explains it.
    pub fn failed(
        &self,
        login: &Login<'_>,
        subject: &Subject,
        loss: Loss,
        (begin, when, reply): (Instant, &str, &Reply),
    ) {
        let failed = Failed {
            loss,
            subject: subject.clone(),
            user: login.user.to_owned(),
            by_daemon: login.way.is_by_daemon(),
            begin,
            end: Instant::now(),
        };
        match self.ledger.explanation(&failed) {
            Some(event) => self.tally.explained(login.what, loss, &event),
            None => {
                let around = self.ledger.around(begin, failed.end);
                let what = format!(
                    "{login} failed at {when} after {:?}: {:?} as {loss:?} of {subject:?}\n{around}",
                    failed.end - begin,
                    reply.status_line,
                );
                self.tally.wrong(what, self.log_of());
            }
        }
    }

    /// The last lines of the log.
    fn log_of(&self) -> String {
        read(&self.site.cyrus).log().tail()
    }

    /// Stays connected, does a little, and goes.
    fn stay(&self, mut imap: Imap, user: &str, dice: &mut Dice) {
        let mut last = Instant::now();
        for command in ["SELECT INBOX", "NOOP", "LOGOUT"] {
            let goes_on = self.end.sleep(dice.millis(200, 1_200));
            let command = if goes_on { command } else { "LOGOUT" };
            let reply = imap.command(command);
            if !reply.ok {
                let login = Login {
                    way: Way::Caspt,
                    user,
                    secret: "",
                    what: "an open connection",
                };
                self.tally.tried(login.what);
                self.failed(
                    &login,
                    &Subject::KnownTicket,
                    Loss::Cut,
                    (last, command, &reply),
                );
                return;
            }
            last = Instant::now();
            if !goes_on {
                return;
            }
        }
    }
}

impl std::fmt::Display for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} by {:?}", self.what, self.user, self.way)
    }
}
