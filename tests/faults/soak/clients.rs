//! The connections. Each logs in, checks which mailboxes it sees, stays for a while and starts
//! again.

use super::ledger::{FailedLogin, Subject};
use super::login::{Failure, LoginMethod, connect, failure_of, log_in, mailbox_owners};
use super::pool::{Credential, Kind};
use super::run::Run;
use super::servers::{password_of, read, users_with_passwords};
use std::sync::Arc;
use std::time::Instant;
use test_support::dice::Dice;
use test_support::imap::Imap;
use test_support::imap_reply::Reply;

/// The parameters of a login.
pub struct Login<'l> {
    pub method: LoginMethod,
    pub user: &'l str,
    pub secret: &'l str,
    /// A description for the report.
    pub what: &'l str,
}

impl Run<'_> {
    /// Logs in again and again until the end of the run.
    pub fn keep_connecting(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(100, 500)) {
            match dice.roll(100) {
                0..16 => self.present_bad_credential(&mut dice),
                16..21 => self.present_password(&mut dice),
                21..36 => self.present_new_credential(&mut dice),
                _ => self.present_known_credential(&mut dice),
            }
        }
    }

    fn present_password(&self, dice: &mut Dice) {
        let users: Vec<String> = users_with_passwords().collect();
        let user = dice.pick(&users);
        let login = Login {
            method: *dice.pick(&LoginMethod::OF_PASSWORDS),
            user,
            secret: &password_of(user),
            what: "an ordinary password",
        };
        let begin = Instant::now();
        if let Some(imap) = self.expect_success(&login, &Subject::Password, begin) {
            self.stay(imap, user, dice);
        }
    }

    fn present_new_credential(&self, dice: &mut Dice) {
        match self.pool.take_new() {
            Some(credential) => self.present(&credential, Instant::now(), dice),
            None => self.present_known_credential(dice),
        }
    }

    fn present_known_credential(&self, dice: &mut Dice) {
        // Taken before the credential is chosen, so that events in between are considered.
        let begin = Instant::now();
        if let Some(credential) = self.pool.known(dice) {
            self.present(&credential, begin, dice);
        }
    }

    fn present(&self, credential: &Arc<Credential>, begin: Instant, dice: &mut Dice) {
        let (is_known, first) = credential.begin();
        let (subject, what, methods) = match (credential.kind, is_known) {
            (Kind::Ticket, true) => (
                Subject::KnownTicket,
                "a known ticket",
                &LoginMethod::OF_TICKETS,
            ),
            (Kind::Ticket, false) => {
                let subject = Subject::NewTicket(first);
                (subject, "a new ticket", &LoginMethod::OF_TICKETS)
            }
            (Kind::Token(keys), true) => (
                Subject::Token(keys),
                "a known token",
                &LoginMethod::OF_TOKENS,
            ),
            (Kind::Token(keys), false) => {
                (Subject::Token(keys), "a new token", &LoginMethod::OF_TOKENS)
            }
        };
        let user = &credential.user;
        let login = Login {
            method: *dice.pick(methods),
            user,
            secret: &credential.secret,
            what,
        };
        if let Some(imap) = self.expect_success(&login, &subject, begin) {
            let is_void = || match credential.kind {
                Kind::Ticket => self.ledger.was_flushed(user, begin),
                Kind::Token(keys) => keys + 2 <= self.servers.generation(),
            };
            self.pool.keep(credential, is_void, dice);
            self.stay(imap, user, dice);
        }
    }

    /// Logs in with a valid credential. Returns the connection if the login succeeds as the right
    /// user.
    pub fn expect_success(
        &self,
        login: &Login<'_>,
        subject: &Subject,
        begin: Instant,
    ) -> Option<Imap> {
        let (imap, reply) = self.log_in(login);
        self.tally.tried(login.what);
        let Some(failure) = failure_of(&reply) else {
            let mut imap = imap?;
            let seen = mailbox_owners(&mut imap);
            let is_own = seen.as_ref().is_none_or(|users| *users == [login.user]);
            if !is_own {
                let what = format!("{login} sees the mailboxes of {seen:?}");
                self.tally.violation(what, self.log_tail());
            }
            if seen.is_none() {
                self.failed(
                    login,
                    subject,
                    Failure::Disconnected,
                    (begin, "LIST", &reply),
                );
                return None;
            }
            self.tally.accepted(login.what);
            return Some(imap);
        };
        self.failed(login, subject, failure, (begin, "login", &reply));
        None
    }

    /// Logs in and returns the reply, which is empty if there is no server.
    pub fn log_in(&self, login: &Login<'_>) -> (Option<Imap>, Reply) {
        let Some(mut imap) = connect(self.servers.port) else {
            return (None, Reply::default());
        };
        let reply = log_in(&mut imap, login.method, login.user, login.secret);
        (Some(imap), reply)
    }

    /// Records a failed login together with the event that explains it, or as a violation.
    pub fn failed(
        &self,
        login: &Login<'_>,
        subject: &Subject,
        failure: Failure,
        (begin, when, reply): (Instant, &str, &Reply),
    ) {
        let failed = FailedLogin {
            failure,
            subject: subject.clone(),
            user: login.user.to_owned(),
            by_daemon: login.method.is_by_daemon(),
            begin,
            end: Instant::now(),
        };
        match self.ledger.explanation(&failed) {
            Some(event) => self.tally.explained(login.what, failure, &event),
            None => {
                let events = self.ledger.events_between(begin, failed.end);
                let what = format!(
                    "{login} failed at {when} after {:?}: {:?} as {failure:?} of {subject:?}\n{events}",
                    failed.end - begin,
                    reply.status_line,
                );
                self.tally.violation(what, self.log_tail());
            }
        }
    }

    /// Returns the last lines of the log.
    fn log_tail(&self) -> String {
        read(&self.servers.cyrus).log().tail()
    }

    /// Sends a few commands and logs out.
    fn stay(&self, mut imap: Imap, user: &str, dice: &mut Dice) {
        let mut last = Instant::now();
        for command in ["SELECT INBOX", "NOOP", "LOGOUT"] {
            let continues = self.end.sleep(dice.millis(200, 1_200));
            let command = if continues { command } else { "LOGOUT" };
            let reply = imap.command(command);
            if !reply.ok {
                let login = Login {
                    method: LoginMethod::Caspt,
                    user,
                    secret: "",
                    what: "an open connection",
                };
                self.tally.tried(login.what);
                self.failed(
                    &login,
                    &Subject::KnownTicket,
                    Failure::Disconnected,
                    (last, command, &reply),
                );
                return;
            }
            last = Instant::now();
            if !continues {
                return;
            }
        }
    }
}

impl std::fmt::Display for Login<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} by {:?}", self.what, self.user, self.method)
    }
}
