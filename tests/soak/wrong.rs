//! What must open nothing, at any time.

use super::clients::Login;
use super::ledger::Subject;
use super::login::{Loss, Way, loss};
use super::run::Run;
use super::site::{IMAP, USERS, password_of, read, user};
use super::stock::{Kind, Wrong};
use crate::harness::dice::Dice;
use crate::harness::mint::now;
use crate::harness::oidc::AUDIENCE;
use serde_json::json;
use std::time::Instant;

impl Run<'_> {
    /// A login that must not succeed.
    pub fn present_something_wrong(&self, dice: &mut Dice) {
        let begin = Instant::now();
        let (wrong, ways) = match dice.roll(10) {
            0 => (made_up(dice), &Way::OF_TICKETS),
            1 => (self.forged(dice), &Way::OF_TOKENS),
            2 => {
                let user = user(USERS - 1 - dice.roll(2));
                // Of somebody who has another one, or none.
                let of = if dice.is_one_of(2) { "user0" } else { IMAP };
                self.password(&user, &password_of(of), dice);
                return;
            }
            3 | 4 => match self.somebody_elses(dice) {
                Some((wrong, Kind::Ticket)) => (wrong, &Way::OF_TICKETS),
                Some((wrong, Kind::Token(_))) => (wrong, &Way::OF_TOKENS),
                None => return,
            },
            5 => match self.tampered(dice) {
                Some(wrong) => (wrong, &Way::OF_TOKENS),
                None => return,
            },
            _ => match self.stock.wrong(dice) {
                Some(wrong) if wrong.is_ticket => (wrong, &Way::OF_TICKETS),
                Some(wrong) => (wrong, &Way::OF_TOKENS),
                None => return,
            },
        };
        self.is_kept_out(&wrong, *dice.pick(ways), begin);
    }

    /// Whether this one is refused; if not, that is noted.
    pub fn is_kept_out(&self, wrong: &Wrong, way: Way, begin: Instant) -> bool {
        let subject = match wrong.is_ticket {
            true => Subject::WrongTicket,
            false => Subject::WrongToken,
        };
        let login = Login {
            way,
            user: &wrong.user,
            secret: &wrong.secret,
            what: wrong.why,
        };
        self.expect_refusal(&login, &subject, begin)
    }

    fn expect_refusal(&self, login: &Login<'_>, subject: &Subject, begin: Instant) -> bool {
        let (_imap, reply) = self.log_in(login);
        self.tally.tried(login.what);
        match loss(&reply) {
            None => {
                let log = read(&self.site.cyrus).log().tail();
                let around = self.ledger.around(begin, Instant::now());
                self.tally
                    .wrong(format!("{login} IS LET IN\n{around}"), log);
                false
            }
            Some(Loss::Refusal) => {
                self.tally.refused(login.what);
                true
            }
            // Not in either, but for another reason, which there has to be.
            Some(other) => {
                self.failed(login, subject, other, (begin, "login", &reply));
                false
            }
        }
    }

    fn password(&self, user: &str, password: &str, dice: &mut Dice) {
        let login = Login {
            way: *dice.pick(&Way::OF_PASSWORDS),
            user,
            secret: password,
            what: "a wrong password",
        };
        self.expect_refusal(&login, &Subject::Password, Instant::now());
    }

    /// By no issuer's key, whose name nobody knows.
    fn forged(&self, dice: &mut Dice) -> Wrong {
        let user = user(dice.roll(USERS));
        let secret = self.forged_token(&user, dice.roll(1_000_000));
        wrong(false, user, secret, "a forged token")
    }

    /// A token that is right in all but the key.
    pub fn forged_token(&self, user: &str, number: usize) -> String {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": format!("k{number}") });
        let claims = json!({
            "iss": self.site.issuer_name, "aud": AUDIENCE, "sub": user, "scope": "imap",
            "client_id": "webmail", "jti": number.to_string(), "iat": now(), "exp": now() + 600,
        });
        let (header, claims) = (header.to_string(), claims.to_string());
        self.forger.token(&header, &claims)
    }

    /// A good one of another user.
    fn somebody_elses(&self, dice: &mut Dice) -> Option<(Wrong, Kind)> {
        let known = self.stock.known(dice)?;
        let others: Vec<String> = (0..USERS)
            .map(user)
            .filter(|one| *one != known.user)
            .collect();
        let user = dice.pick(&others).clone();
        let is_ticket = known.kind == Kind::Ticket;
        let wrong = wrong(is_ticket, user, known.secret.clone(), "somebody else's");
        Some((wrong, known.kind))
    }

    /// A good token with one letter changed, of its claims or of its signature.
    fn tampered(&self, dice: &mut Dice) -> Option<Wrong> {
        let known = self.stock.known(dice)?;
        let (start, rest) = known.secret.split_once('.')?;
        // The last letter of a part may have bits that do not count.
        let place = start.len() + 1 + dice.roll(rest.len() - 2);
        let mut letters = known.secret.clone().into_bytes();
        if matches!(letters[place], b'.') || matches!(letters[place + 1], b'.') {
            return None;
        }
        letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
        let secret = String::from_utf8(letters).expect("letters");
        Some(wrong(false, known.user.clone(), secret, "a tampered token"))
    }
}

/// A ticket that nobody issued.
fn made_up(dice: &mut Dice) -> Wrong {
    let secret = format!("PT-{}-made-up", dice.roll(1_000_000_000));
    wrong(true, user(dice.roll(USERS)), secret, "a made-up ticket")
}

fn wrong(is_ticket: bool, user: String, secret: String, why: &'static str) -> Wrong {
    Wrong {
        is_ticket,
        user,
        secret,
        why,
    }
}
