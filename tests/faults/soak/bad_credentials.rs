//! Logins with bad credentials, which must always be refused.

use super::clients::Login;
use super::ledger::Subject;
use super::login::{Failure, LoginMethod, failure_of};
use super::pool::{BadCredential, Kind};
use super::run::Run;
use super::servers::{IMAP, USERS, password_of, read, user};
use serde_json::json;
use std::time::Instant;
use test_support::dice::Dice;
use test_support::mint::now;
use test_support::oidc::AUDIENCE;

impl Run<'_> {
    /// Logs in with a bad credential.
    pub fn present_bad_credential(&self, dice: &mut Dice) {
        let begin = Instant::now();
        let (bad, methods) = match dice.roll(10) {
            0 => (made_up(dice), &LoginMethod::OF_TICKETS),
            1 => (self.forged(dice), &LoginMethod::OF_TOKENS),
            2 => {
                let user = user(USERS - 1 - dice.roll(2));
                // The password of another user, or of nobody.
                let of = if dice.is_one_of(2) { "user0" } else { IMAP };
                self.present_wrong_password(&user, &password_of(of), dice);
                return;
            }
            3 | 4 => match self.of_another_user(dice) {
                Some((bad, Kind::Ticket)) => (bad, &LoginMethod::OF_TICKETS),
                Some((bad, Kind::Token(_))) => (bad, &LoginMethod::OF_TOKENS),
                None => return,
            },
            5 => match self.tampered(dice) {
                Some(bad) => (bad, &LoginMethod::OF_TOKENS),
                None => return,
            },
            _ => match self.pool.bad(dice) {
                Some(bad) if bad.is_ticket => (bad, &LoginMethod::OF_TICKETS),
                Some(bad) => (bad, &LoginMethod::OF_TOKENS),
                None => return,
            },
        };
        self.expect_bad_refused(&bad, *dice.pick(methods), begin);
    }

    /// Returns whether a bad credential is refused. Otherwise, records a failure.
    pub fn expect_bad_refused(
        &self,
        bad: &BadCredential,
        method: LoginMethod,
        begin: Instant,
    ) -> bool {
        let subject = match bad.is_ticket {
            true => Subject::BadTicket,
            false => Subject::BadToken,
        };
        let login = Login {
            method,
            user: &bad.user,
            secret: &bad.secret,
            what: bad.why,
        };
        self.expect_refusal(&login, &subject, begin)
    }

    fn expect_refusal(&self, login: &Login<'_>, subject: &Subject, begin: Instant) -> bool {
        let (_imap, reply) = self.log_in(login);
        self.tally.tried(login.what);
        match failure_of(&reply) {
            None => {
                let log = read(&self.servers.cyrus).log().tail();
                let around = self.ledger.events_between(begin, Instant::now());
                self.tally
                    .violation(format!("{login} IS ACCEPTED\n{around}"), log);
                false
            }
            Some(Failure::Refusal) => {
                self.tally.refused(login.what);
                true
            }
            // Not accepted, but not refused either; an event must explain that.
            Some(other) => {
                self.failed(login, subject, other, (begin, "login", &reply));
                false
            }
        }
    }

    fn present_wrong_password(&self, user: &str, password: &str, dice: &mut Dice) {
        let login = Login {
            method: *dice.pick(&LoginMethod::OF_PASSWORDS),
            user,
            secret: password,
            what: "a wrong password",
        };
        self.expect_refusal(&login, &Subject::Password, Instant::now());
    }

    /// Returns a token with an unknown key ID, signed with an unpublished key.
    fn forged(&self, dice: &mut Dice) -> BadCredential {
        let user = user(dice.roll(USERS));
        let secret = self.forged_token(&user, dice.roll(1_000_000));
        bad(false, user, secret, "a forged token")
    }

    /// Creates a token that is valid except for its key.
    pub fn forged_token(&self, user: &str, number: usize) -> String {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("k{number}") });
        let claims = json!({
            "iss": self.servers.issuer_name, "aud": AUDIENCE, "sub": user, "scope": "imap",
            "client_id": "webmail", "jti": number.to_string(), "iat": now(), "exp": now() + 600,
        });
        let (header, claims) = (header.to_string(), claims.to_string());
        self.forger.token(&header, &claims)
    }

    /// Returns a valid credential with the name of another user.
    fn of_another_user(&self, dice: &mut Dice) -> Option<(BadCredential, Kind)> {
        let known = self.pool.known(dice)?;
        let others: Vec<String> = (0..USERS)
            .map(user)
            .filter(|one| *one != known.user)
            .collect();
        let user = dice.pick(&others).clone();
        let is_ticket = known.kind == Kind::Ticket;
        let bad = bad(
            is_ticket,
            user,
            known.secret.clone(),
            "another user's credential",
        );
        Some((bad, known.kind))
    }

    /// Returns a valid token with one character of its claims or signature changed.
    fn tampered(&self, dice: &mut Dice) -> Option<BadCredential> {
        let known = self.pool.known(dice)?;
        let (start, rest) = known.secret.split_once('.')?;
        // The last character of a part may contain unused bits.
        let index = start.len() + 1 + dice.roll(rest.len() - 2);
        let mut bytes = known.secret.clone().into_bytes();
        if matches!(bytes[index], b'.') || matches!(bytes[index + 1], b'.') {
            return None;
        }
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let secret = String::from_utf8(bytes).expect("a token is ASCII");
        Some(bad(false, known.user.clone(), secret, "a tampered token"))
    }
}

/// Returns a ticket that was never issued.
fn made_up(dice: &mut Dice) -> BadCredential {
    let secret = format!("PT-{}-made-up", dice.roll(1_000_000_000));
    bad(true, user(dice.roll(USERS)), secret, "a made-up ticket")
}

fn bad(is_ticket: bool, user: String, secret: String, why: &'static str) -> BadCredential {
    BadCredential {
        is_ticket,
        user,
        secret,
        why,
    }
}
