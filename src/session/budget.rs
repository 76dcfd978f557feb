//! The budget of refusals: a stranger who sends tickets that he made up costs the
//! CAS server no more than so many questions a minute, however many processes he
//! keeps busy.
//!
//! Only what CAS refused, or did not answer as CAS does, is counted, and what it
//! accepts makes up for it. What is known costs nothing. So no webmail is slowed by
//! its own good logins, nor by the old tickets that it brings after a restart.

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv6Addr};

use super::access::Access;
use super::key::Key;
use super::tier::{Change, Table};
use crate::clock::Moment;
use crate::outcome::{Failure, Reason};

/// The budget refills in so many microseconds, which are also what it holds.
const MINUTE: u64 = 60_000_000;

/// How many times as much as one client all of them together may spend.
const ALL: u64 = 10;

/// What was spent, as the moment, in microseconds, at which all of it will be
/// refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent(u64);

impl Spent {
    /// What is still to be refilled at `now`. More than there is room for was noted by
    /// another clock, and is not believed.
    fn owed(self, now: Moment) -> u64 {
        let owed = self.0.saturating_sub(micros(now));
        if owed <= MINUTE { owed } else { 0 }
    }

    /// Whether there is something left of `budget` refusals a minute.
    pub(super) fn leaves(self, budget: u64, now: Moment) -> bool {
        self.owed(now) + MINUTE / budget.max(1) <= MINUTE
    }

    /// One more refusal at `now`.
    pub(super) fn more(before: Option<Self>, budget: u64, now: Moment) -> Self {
        let owed = before.map_or(0, |spent| spent.owed(now)) + MINUTE / budget.max(1);
        // Those that were under way together may spend more than there was.
        Self(micros(now) + owed.min(MINUTE))
    }

    /// One less, because a ticket was good.
    pub(super) fn less(self, budget: u64) -> Self {
        Self(self.0.saturating_sub(MINUTE / budget.max(1)))
    }

    /// Whether there is anything still to be refilled.
    pub(super) fn owes(self, now: Moment) -> bool {
        self.owed(now) > 0
    }

    pub(super) fn encode(self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

fn micros(now: Moment) -> u64 {
    now.as_millis() * 1_000
}

/// Who pays for a ticket: its client's address, which may have a port behind it
/// (`192.0.2.1;4711`), or with IPv6 its network, for one client has as many addresses
/// there as it likes. If the host does not tell the address, the user that the
/// client says it is: then a stranger spends what is the one's whose name he uses.
pub fn payer(client: Option<&str>, claimed: Option<&str>) -> String {
    let address = client.and_then(|client| client.split(';').next());
    match address.and_then(|address| address.parse::<IpAddr>().ok()) {
        Some(address) => match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).to_string()
            }
        },
        None => format!("user {}", claimed.unwrap_or_default().to_lowercase()),
    }
}

impl Access<'_> {
    /// Whether CAS may be asked about one more ticket at the expense of `payer`, if
    /// it may refuse `budget` of its tickets a minute.
    ///
    /// # Errors
    /// [`Reason::BudgetSpent`].
    pub fn may_spend(&self, payer: &str, budget: u64) -> Result<(), Failure> {
        let now = self.now();
        for (purse, budget, whose) in self.purses(payer, budget) {
            let spent = self.look_up(Table::Budgets, &purse, Spent::decode);
            if spent.is_some_and(|(spent, _)| !spent.leaves(budget, now)) {
                let what = format!("CAS refused too many tickets {whose} within a minute");
                return Err(Failure::new(Reason::BudgetSpent, what));
            }
        }
        Ok(())
    }

    /// Notes that CAS refused a ticket of `payer`'s.
    pub fn spend(&self, payer: &str, budget: u64) {
        let now = self.now();
        for (purse, budget, _) in self.purses(payer, budget) {
            self.change(Table::Budgets, &purse, |before| {
                let before = before.and_then(Spent::decode);
                Change::Put(Spent::more(before, budget, now).encode())
            });
        }
    }

    /// Notes that CAS accepted one, which makes up for one that it refused: after a
    /// restart of the host a webmail brings each user's old ticket, and then a new
    /// one.
    pub fn earn(&self, payer: &str, budget: u64) {
        let now = self.now();
        for (purse, budget, _) in self.purses(payer, budget) {
            let owes = |spent: &Spent| spent.owes(now);
            let spent = self.look_up(Table::Budgets, &purse, Spent::decode);
            if spent.is_some_and(|(spent, _)| owes(&spent)) {
                self.change(Table::Budgets, &purse, |before| {
                    match before.and_then(Spent::decode).filter(owes) {
                        Some(spent) => Change::Put(spent.less(budget).encode()),
                        None => Change::Keep,
                    }
                });
            }
        }
    }

    /// Where it is noted what `payer` and all together spend, and their budgets.
    fn purses(&self, payer: &str, budget: u64) -> [(Key, u64, &'static str); 2] {
        let purse = |whose: &[u8], budget: u64| {
            let key: [&[u8]; 3] = [b"budget", whose, &budget.to_be_bytes()];
            self.tiers.secret.key(&key)
        };
        let of_all = budget.saturating_mul(ALL);
        [
            (purse(payer.as_bytes(), budget), budget, "of this client"),
            (purse(b"all", of_all), of_all, "of all clients"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        let mut spent = Spent::more(None, 60, at(5_000));
        for _ in 1..60 {
            assert!(spent.leaves(60, at(5_000)));
            spent = Spent::more(Some(spent), 60, at(5_000));
        }
        assert!(!spent.leaves(60, at(5_000)));
        assert!(!spent.leaves(60, at(5_999)));
        assert!(spent.leaves(60, at(6_000)));
        assert_eq!(Spent::decode(&spent.encode()), Some(spent));
        // What was overspent is forgotten: nobody is locked out for longer.
        let overspent = Spent::more(Some(spent), 60, at(5_000));
        assert!(overspent.leaves(60, at(6_000)));
    }

    #[test]
    fn what_was_spent_by_another_clock_locks_nobody_out() {
        let spent = (0..60).fold(None, |spent, _| Some(Spent::more(spent, 60, at(9_000_000))));
        let spent = spent.unwrap();
        assert!(!spent.leaves(60, at(9_000_000)));
        assert!(spent.leaves(60, at(5_000)) && !spent.owes(at(5_000)));
        let next = Spent::more(Some(spent), 60, at(5_000));
        assert_eq!(next, Spent::more(None, 60, at(5_000)));
    }

    #[test]
    fn a_good_ticket_makes_up_for_a_refused_one() {
        let one = Spent::more(None, 60, at(5_000));
        let two = Spent::more(Some(one), 60, at(5_000));
        assert_eq!(two.less(60), one);
        assert!(one.owes(at(5_999)));
        assert!(!one.owes(at(6_000)) && !one.less(60).owes(at(5_000)));
    }

    #[test]
    fn what_nobody_can_have_spent_counts_for_nothing() {
        let absurd = Spent::decode(&u64::MAX.to_be_bytes()).unwrap();
        assert!(absurd.leaves(60, at(5_000)));
        let more = Spent::more(Some(absurd), 60, at(5_000));
        assert_eq!(more, Spent::more(None, 60, at(5_000)));
    }

    #[test]
    fn a_client_is_its_address_or_its_network_or_the_name_it_uses() {
        let of = |client| payer(Some(client), Some("alice"));
        assert_eq!(of("192.0.2.1;4711"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1;1"), "192.0.2.1");
        assert_eq!(of("2001:db8::1;4711"), "2001:db8::");
        assert_eq!(of("2001:db8::2:3:4:5"), "2001:db8::");
        assert_eq!(of("nonsense"), payer(None, Some("Alice")));
        assert_ne!(payer(None, Some("bob")), payer(None, Some("alice")));
    }
}
