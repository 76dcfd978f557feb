//! What must hold when the outages are over, and of all that the log has.

use super::clients::Login;
use super::figures::Figures;
use super::ledger::Subject;
use super::login::Way;
use super::run::Run;
use super::site::{Site, read};
use super::stock::{Credential, Kind};
use crate::harness::dice::Dice;
use crate::harness::syslog::level;
use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

impl Run<'_> {
    /// Everything known opens the door, and nothing that is wrong does.
    pub fn sweep(&self, dice: &mut Dice) {
        for credential in self.stock.all_known() {
            let (subject, way) = match credential.kind {
                Kind::Ticket => (Subject::KnownTicket, dice.pick(&Way::OF_TICKETS)),
                Kind::Token(keys) => (Subject::Token(keys), dice.pick(&Way::OF_TOKENS)),
            };
            let login = Login {
                way: *way,
                user: &credential.user,
                secret: &credential.secret,
                what: "in the end: good",
            };
            self.is_let_in(&login, &subject, Instant::now());
        }
        for wrong in self.stock.all_wrong() {
            let ways = match wrong.is_ticket {
                true => &Way::OF_TICKETS,
                false => &Way::OF_TOKENS,
            };
            self.is_kept_out(&wrong, *dice.pick(ways), Instant::now());
        }
    }

    /// CAS was asked about each ticket that is known, and once; how many they are.
    pub fn one_validation_each(&self) -> usize {
        let mut asked: HashMap<String, usize> = HashMap::new();
        for line in read(&self.site.cas).access_log() {
            if let Some((_, rest)) = line.split_once("/proxyValidate?") {
                let ticket = rest
                    .split(['&', ' '])
                    .find_map(|one| one.strip_prefix("ticket="));
                *asked
                    .entry(ticket.unwrap_or_default().to_owned())
                    .or_default() += 1;
            }
        }
        let known = self.stock.all_known();
        let tickets = known.iter().filter(|one| one.kind == Kind::Ticket);
        let times = |one: &Credential| asked.get(&one.secret).copied().unwrap_or_default();
        for ticket in tickets.clone().filter(|one| times(one) != 1) {
            let times = times(ticket);
            let what = format!(
                "CAS was asked {times} times about a ticket of {}",
                ticket.user
            );
            self.tally.wrong(what, String::new());
        }
        tickets.count()
    }

    /// What must be in no log; how many logins it says were accepted since `mark`.
    pub fn read_the_log(&self, mark: &mut usize) -> usize {
        let (lines, end) = self.site.log_since(*mark);
        *mark = end;
        let mut accepted = 0;
        for line in lines {
            let text = &line.text;
            accepted += usize::from(text.contains(" outcome=accepted "));
            let tells = ["PT-", "ST-", "eyJ"]
                .iter()
                .any(|secret| text.contains(secret));
            let is_loud = text.starts_with("sso: ") && line.level <= level::ERR;
            let died = text.split_once("signaled to death by signal ");
            // By us, or by master: one that is told to reload while it starts has no handler yet.
            let ours = |signal: &str| {
                ["1 ", "9 ", "15 "]
                    .iter()
                    .any(|one| signal.starts_with(one))
            };
            let died = died.is_some_and(|(_, signal)| !ours(signal));
            if tells || is_loud || died {
                self.tally
                    .wrong(format!("in the log: {line:?}"), String::new());
            }
        }
        accepted
    }
}

/// Waits until nobody is connected any more, as far as that can be told.
pub fn settled(site: &Site) -> Figures {
    sleep(Duration::from_secs(2));
    Figures::of(site)
}
