//! The webmail, which fetches new tickets and tokens as long as their servers are up, and those who
//! fetch what must open nothing.

use super::chance::Chance;
use super::run::Run;
use super::site::{IMAP, USERS, read, user};
use super::stock::{Credential, Kind, Wrong};
use crate::harness::oidc::ALGORITHMS;

impl Run<'_> {
    /// Fetches tickets until the end.
    pub fn fetch_tickets(&self, mut chance: Chance) {
        while self.end.sleep(chance.millis(400, 1_400)) {
            if self.stock.is_full(true) {
                continue;
            }
            // Who would stop the CAS waits until it has answered.
            let _cas = read(&self.site.cas);
            let user = user(chance.below(USERS));
            if chance.one_in(6) {
                let wrong = self.wrong_ticket(&user, &mut chance);
                self.stock.add_wrong(wrong, &mut chance);
            } else {
                let ticket = self.site.webmail.proxy_ticket(&user, IMAP);
                let ticket = Credential::new(Kind::Ticket, &user, ticket);
                // Several connections at once, as a webmail does it.
                self.stock.add_new(ticket, 1 + chance.below(3));
            }
        }
    }

    fn wrong_ticket(&self, user: &str, chance: &mut Chance) -> Wrong {
        let site = self.site;
        let (why, secret) = match chance.below(3) {
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
    pub fn fetch_tokens(&self, mut chance: Chance) {
        while self.end.sleep(chance.millis(1_500, 4_500)) {
            if self.stock.is_full(false) {
                continue;
            }
            let issuer = read(&self.site.issuer);
            let user = user(chance.below(USERS));
            let alg = *chance.pick(&ALGORITHMS);
            let (why, secret) = match chance.below(12) {
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
                    self.stock.add_new(token, 1 + chance.below(2));
                    continue;
                }
            };
            let wrong = Wrong {
                is_ticket: false,
                user,
                secret,
                why,
            };
            self.stock.add_wrong(wrong, &mut chance);
        }
    }
}
