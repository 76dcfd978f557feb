//! The webmail, which fetches new tickets and tokens as long as their servers are up, and those who
//! fetch what must open nothing.

use super::run::Run;
use super::site::{IMAP, USERS, read, user};
use super::stock::{Credential, Kind, Wrong};
use crate::harness::dice::Dice;
use crate::harness::oidc::ALGORITHMS;

impl Run<'_> {
    /// Fetches tickets until the end.
    pub fn fetch_tickets(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(400, 1_400)) {
            if self.stock.is_full(true) {
                continue;
            }
            // Who would stop the CAS waits until it has answered.
            let _cas = read(&self.site.cas);
            let user = user(dice.roll(USERS));
            if dice.is_one_of(6) {
                let wrong = self.wrong_ticket(&user, &mut dice);
                self.stock.add_wrong(wrong, &mut dice);
            } else {
                let ticket = self.site.webmail.proxy_ticket(&user, IMAP);
                let ticket = Credential::new(Kind::Ticket, &user, ticket);
                // Several connections at once, as a webmail does it.
                self.stock.add_new(ticket, 1 + dice.roll(3));
            }
        }
    }

    fn wrong_ticket(&self, user: &str, dice: &mut Dice) -> Wrong {
        let site = self.site;
        let (why, secret) = match dice.roll(3) {
            0 => (
                "of another service",
                site.webmail.proxy_ticket(user, "imap://localhost:1/"),
            ),
            1 => (
                "of a stranger's portal",
                site.stranger.proxy_ticket(user, IMAP),
            ),
            _ => ("through no proxy", site.webmail.service_ticket(user, IMAP)),
        };
        Wrong {
            is_ticket: true,
            user: user.to_owned(),
            secret,
            why,
        }
    }

    /// Fetches tokens until the end.
    pub fn fetch_tokens(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(1_500, 4_500)) {
            if self.stock.is_full(false) {
                continue;
            }
            let issuer = read(&self.site.issuer);
            let user = user(dice.roll(USERS));
            let alg = *dice.pick(&ALGORITHMS);
            let (why, secret) = match dice.roll(12) {
                0 => ("an ID token", issuer.id_token(&user)),
                1 => ("of a client for itself", issuer.client_token()),
                2 => {
                    let scope = issuer.access_token_with_scope(&user, alg, "smtp");
                    ("without the scope", scope)
                }
                _ => {
                    let token = issuer.access_token(&user, alg);
                    let kind = Kind::Token(self.site.generation());
                    let token = Credential::new(kind, &user, token);
                    self.stock.add_new(token, 1 + dice.roll(2));
                    continue;
                }
            };
            let wrong = Wrong {
                is_ticket: false,
                user,
                secret,
                why,
            };
            self.stock.add_wrong(wrong, &mut dice);
        }
    }
}
