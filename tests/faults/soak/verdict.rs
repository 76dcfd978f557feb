//! Checks after the outages, and checks of the log.

use super::clients::Login;
use super::figures::Figures;
use super::ledger::Subject;
use super::login::LoginMethod;
use super::pool::{Credential, Kind};
use super::run::Run;
use super::servers::{SoakServers, read};
use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::syslog::level;

impl Run<'_> {
    /// Checks that all known credentials are accepted and all bad ones refused.
    pub fn sweep(&self, dice: &mut Dice) {
        for credential in self.pool.all_known() {
            let (subject, method) = match credential.kind {
                Kind::Ticket => (Subject::KnownTicket, dice.pick(&LoginMethod::OF_TICKETS)),
                Kind::Token(keys) => (Subject::Token(keys), dice.pick(&LoginMethod::OF_TOKENS)),
            };
            let login = Login {
                method: *method,
                user: &credential.user,
                secret: &credential.secret,
                what: "a known credential at the end",
            };
            self.expect_success(&login, &subject, Instant::now());
        }
        for bad in self.pool.all_bad() {
            let methods = match bad.is_ticket {
                true => &LoginMethod::OF_TICKETS,
                false => &LoginMethod::OF_TOKENS,
            };
            self.expect_bad_refused(&bad, *dice.pick(methods), Instant::now());
        }
    }

    /// Checks that CAS validated each known ticket exactly once. Returns the number of these
    /// tickets.
    pub fn check_validations(&self) -> usize {
        let mut asked: HashMap<String, usize> = HashMap::new();
        for line in read(&self.servers.cas).access_log() {
            if let Some((_, rest)) = line.split_once("/proxyValidate?") {
                let ticket = rest
                    .split(['&', ' '])
                    .find_map(|one| one.strip_prefix("ticket="));
                *asked
                    .entry(ticket.unwrap_or_default().to_owned())
                    .or_default() += 1;
            }
        }
        let known = self.pool.all_known();
        let tickets = known.iter().filter(|one| one.kind == Kind::Ticket);
        let times = |one: &Credential| asked.get(&one.secret).copied().unwrap_or_default();
        for ticket in tickets.clone().filter(|one| times(one) != 1) {
            let times = times(ticket);
            let what = format!(
                "CAS was asked {times} times about a ticket of {}",
                ticket.user
            );
            self.tally.violation(what, String::new());
        }
        tickets.count()
    }

    /// Checks the log for credentials, errors and crashes. Returns the number of accepted logins
    /// since `mark`.
    pub fn check_log(&self, mark: &mut usize) -> usize {
        let (lines, end) = self.servers.log_since(*mark);
        *mark = end;
        let mut accepted = 0;
        for line in lines {
            let text = &line.text;
            accepted += usize::from(text.contains(" outcome=accepted "));
            let has_credential = ["PT-", "ST-", "eyJ"]
                .iter()
                .any(|secret| text.contains(secret));
            let is_error = text.starts_with("sso: ") && line.level <= level::ERR;
            let crashed = text.split_once("signaled to death by signal ");
            // Signals sent by this test or by master. A process that master reloads during startup
            // has no handler for SIGHUP yet.
            let is_expected = |signal: &str| {
                ["1 ", "9 ", "15 "]
                    .iter()
                    .any(|one| signal.starts_with(one))
            };
            let crashed = crashed.is_some_and(|(_, signal)| !is_expected(signal));
            if has_credential || is_error || crashed {
                self.tally
                    .violation(format!("in the log: {line:?}"), String::new());
            }
        }
        accepted
    }
}

/// Waits until the connections are closed and measures the resources.
pub fn measure_when_idle(servers: &SoakServers) -> Figures {
    sleep(Duration::from_secs(2));
    Figures::of(servers)
}
