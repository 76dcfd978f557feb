//! The webmail and others, which obtain new credentials, valid and bad ones, while their servers
//! are up.

use super::pool::{BadCredential, Credential, Kind};
use super::run::Run;
use super::servers::{IMAP, USERS, read, user};
use test_support::dice::Dice;
use test_support::oidc::ALGORITHMS;

impl Run<'_> {
    /// Obtains tickets until the end of the run.
    pub fn fetch_tickets(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(400, 1_400)) {
            if self.pool.is_full(true) {
                continue;
            }
            // CAS is not stopped while this lock is held.
            let _cas = read(&self.servers.cas);
            let user = user(dice.roll(USERS));
            if dice.is_one_of(6) {
                let bad = self.bad_ticket(&user, &mut dice);
                self.pool.add_bad(bad, &mut dice);
            } else {
                let ticket = self.servers.webmail.proxy_ticket(&user, IMAP);
                let ticket = Credential::new(Kind::Ticket, &user, ticket);
                // A webmail may open several connections at once.
                self.pool.add_new(ticket, 1 + dice.roll(3));
            }
        }
    }

    fn bad_ticket(&self, user: &str, dice: &mut Dice) -> BadCredential {
        let servers = self.servers;
        let (why, secret) = match dice.roll(3) {
            0 => (
                "a ticket for another service",
                servers.webmail.proxy_ticket(user, "imap://localhost:1/"),
            ),
            1 => (
                "a ticket of an untrusted portal",
                servers.untrusted_portal.proxy_ticket(user, IMAP),
            ),
            _ => (
                "a service ticket",
                servers.webmail.service_ticket(user, IMAP),
            ),
        };
        BadCredential {
            is_ticket: true,
            user: user.to_owned(),
            secret,
            why,
        }
    }

    /// Obtains tokens until the end of the run.
    pub fn fetch_tokens(&self, mut dice: Dice) {
        while self.end.sleep(dice.millis(1_500, 4_500)) {
            if self.pool.is_full(false) {
                continue;
            }
            let issuer = read(&self.servers.issuer);
            let user = user(dice.roll(USERS));
            let alg = *dice.pick(&ALGORITHMS);
            let (why, secret) = match dice.roll(12) {
                0 => ("an ID token", issuer.id_token(&user)),
                1 => ("a client's own token", issuer.client_token()),
                2 => {
                    let scope = issuer.access_token_with_scope(&user, alg, "smtp");
                    ("a token without the scope", scope)
                }
                _ => {
                    let token = issuer.access_token(&user, alg);
                    let kind = Kind::Token(self.servers.generation());
                    let token = Credential::new(kind, &user, token);
                    self.pool.add_new(token, 1 + dice.roll(2));
                    continue;
                }
            };
            let bad = BadCredential {
                is_ticket: false,
                user,
                secret,
                why,
            };
            self.pool.add_bad(bad, &mut dice);
        }
    }
}
