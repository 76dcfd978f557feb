//! The rate limit of tickets that CAS refuses or leaves unanswered: whoever makes tickets
//! up costs CAS a bounded number of questions a minute, however many processes, names and
//! addresses he uses, and no crowd of strangers keeps out who has good tickets.
//!
//! # Policy
//!
//! 1. A refused ticket (or one to which CAS does not answer as CAS does) is charged to
//!    three buckets, each refilled within a minute: that of the *name* (client address, way,
//!    and the name that the client says), that of the *client* (address and way) and that
//!    of *all* clients (way). The way is CASPT, or a password's place (PLAIN, the daemon). With
//!    `caspt_rate_limit` = N the name's bucket holds N refusals, the client's 4 N, that of all 20 N.
//!    An IPv6 address counts by its /64. Names are compared in lower case, and no name is
//!    a name of its own. If the host does not tell the address, the client's bucket is as
//!    large as that of all: it is many clients'.
//! 2. A ticket is not put to CAS if the name's bucket is full. What the other two allow depends on
//!    the name: one that has something charged to it may fill them to a quarter, one that has
//!    nothing charged to one half, and one of which CAS has accepted a ticket within
//!    [`ACCEPTED_FOR`], from this address and by this way, may use all of them. (For the bucket
//!    of all an accepted ticket of any name of the client counts.) A ticket speaks for the name
//!    of its own user alone ([`Claimed`]). So what strangers type into a
//!    webmail's password form, under whatever names, keeps neither its own tickets waiting,
//!    which come by CASPT, nor those of known users, but for the names that it is typed under.
//! 3. A ticket that CAS leaves unanswered is charged in the same way to a second account of
//!    the same buckets, which holds few ([`UNANSWERED`] a name), for each holds a connection
//!    to CAS for seconds. As long as the name or its client has such a charge, its tickets are
//!    charged before CAS is asked; an answer gives that back. These charges lapse when the
//!    circuit breaker opens: then CAS was down for all. In the same way a ticket of a name that
//!    has refusals charged to it is charged to the name as refused before CAS is asked. Each
//!    such charge is checked and made in one step ([`Access::admit`]), so that as many tickets
//!    at once count as many in a row.
//! 4. A ticket that CAS accepts takes one refusal back from its three buckets, and all that
//!    is unanswered. What is known is never charged, and needs no bucket.
//!
//! Names and addresses are at the client's choice, so they never evict what bounds them: names,
//! clients and accepted names have tables of their own, and the buckets of all are where
//! no client makes a record.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::backend::{Change, Table};
use super::cache_key::Key;
use super::circuit_breaker::BreakerRecord;
use super::entry::moment;
use super::handle::SessionCacheHandle;
use super::rate_bucket::{Account, Charge, MINUTE};
use crate::error::{Failure, Reason};

/// How many times as much as one name a client may have charged.
const CLIENT: u64 = 4;

/// How many times as much as one name all clients together may have charged.
const ALL: u64 = 20;

/// How many unanswered tickets of one name are taken in a minute.
const UNANSWERED: u64 = 30;

/// How long an accepted ticket speaks for its name.
const ACCEPTED_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often it is recorded that tickets of a name are accepted.
const ACCEPTED_GRANULARITY: Duration = Duration::from_secs(3_600);

/// How a ticket comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// By the mechanism that is made for tickets: from a webmail's own code.
    Caspt,
    /// Where a password is expected: perhaps typed into a form by a stranger.
    Password,
}

impl Channel {
    /// The way of a mechanism, by its name in the log.
    pub fn of_mechanism(mechanism: &str) -> Self {
        match mechanism {
            "CASPT" => Self::Caspt,
            _ => Self::Password,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Caspt => "CASPT",
            Self::Password => "password",
        }
    }
}

/// Who brings a ticket, as far as the rate limit tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    address: Option<String>,
    way: Channel,
    name: Option<String>,
}

impl Requester {
    /// `address` may have a port behind it (`192.0.2.1;4711`). With IPv6 its network counts, for
    /// one client has as many addresses there as it likes.
    pub fn new(address: Option<&str>, way: Channel, name: Option<&str>) -> Self {
        let address = address.and_then(|address| address.split(';').next()?.parse().ok());
        let address = address.map(|address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).to_string()
            }
        });
        Self {
            address,
            way,
            name: name.map(str::to_lowercase),
        }
    }
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = self.way.name();
        let address = self.address.as_deref().unwrap_or("an unknown address");
        match &self.name {
            Some(name) => write!(f, "{name} at {address} by {way}"),
            None => write!(f, "{address} by {way}"),
        }
    }
}

/// A ticket that may be put to CAS, and what is charged for it before CAS is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whether it is charged to the name's bucket as [`Charge::Refused`]: the name has refusals
    /// charged to it.
    refused: bool,
    /// Whether it is charged to all buckets as [`Charge::Unanswered`]: the name or the client
    /// has unanswered tickets charged to it.
    unanswered: bool,
}

impl Admission {
    /// Nothing is charged in advance.
    pub const TRUSTED: Self = Self {
        refused: false,
        unanswered: false,
    };

    /// What is charged in advance to a bucket, by its place in [`RateLimits::buckets`].
    fn charges(self, bucket: usize) -> Vec<Charge> {
        let refused = (self.refused && bucket == 0).then_some(Charge::Refused);
        let unanswered = self.unanswered.then_some(Charge::Unanswered);
        refused.into_iter().chain(unanswered).collect()
    }

    /// Whether the ticket counts as unanswered until CAS answers.
    pub fn is_charged_as_unanswered(self) -> bool {
        self.unanswered
    }
}

/// What the buckets allow a requester at one moment.
struct Allowance {
    admission: Admission,
    /// The share of each bucket that may be filled, in the order of [`RateLimits::buckets`].
    shares: [u64; 3],
    /// The number of the last outage of the server.
    outages: u32,
}

/// A bucket: where its account is, and how much it holds.
struct Bucket {
    table: Table,
    key: Key,
    whose: &'static str,
    /// How many refused tickets a minute it takes.
    refused: u64,
    /// How many unanswered ones.
    unanswered: u64,
}

/// The buckets of one requester at one server.
pub struct RateLimits {
    server: Key,
    /// Whether the client says a name: the name's bucket is one user's then.
    is_named: bool,
    name: Bucket,
    client: Bucket,
    all: Bucket,
    /// Under which it is recorded that CAS accepted a ticket of this name.
    accepted_name: Key,
    /// The same of the user of whom this is the name with a domain behind it, and that domain.
    accepted_alias: Option<(Key, String)>,
    /// Under which it is recorded that CAS accepted a ticket of this client.
    accepted_client: Key,
}

/// How the name that the client said is related to the user of its ticket, which CAS accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the user's name, or the client said none.
    Own,
    /// It is the user's name with a domain behind it, which may be the host's default domain. Of
    /// such names only the last one is recorded as accepted: there are as many as anybody likes.
    WithDomain,
    /// It is another name: one ticket would speak for any name that its owner writes.
    Another,
}

impl RateLimits {
    fn buckets(&self) -> [&Bucket; 3] {
        [&self.name, &self.client, &self.all]
    }
}

impl Bucket {
    fn limits(&self) -> (u64, u64) {
        (self.refused, self.unanswered)
    }
}

impl SessionCacheHandle<'_> {
    /// The buckets of `requester`, of whose tickets the server of the circuit breaker `server`
    /// may refuse `budget` a minute under one name.
    pub fn rate_limits(&self, requester: &Requester, budget: u64, server: &Key) -> RateLimits {
        let Requester { address, way, name } = requester;
        let text = |text: &Option<String>| match text {
            Some(text) => ["=", text].concat(),
            None => String::new(),
        };
        let (address_part, name_part) = (text(address), text(name));
        let key = |level: &str, parts: [&str; 2]| {
            let budget = budget.to_be_bytes();
            let [address, name] = parts.map(str::as_bytes);
            let way = way.name().as_bytes();
            let parts = [
                level.as_bytes(),
                server.as_bytes(),
                &budget,
                way,
                address,
                name,
            ];
            self.tiers.secret.key(&parts)
        };
        let accepted = |parts: [&str; 2]| {
            let [address, name] = parts.map(str::as_bytes);
            let parts = [&b"accepted"[..], way.name().as_bytes(), address, name];
            self.tiers.secret.key(&parts)
        };
        let of_client = match address {
            Some(_) => CLIENT,
            None => ALL,
        };
        // All of a client's users may come without a name.
        let of_name = if name.is_some() { 1 } else { of_client };
        let bucket = |table, key, whose, refused: u64, unanswered: u64| Bucket {
            table,
            key,
            whose,
            refused: budget.saturating_mul(refused),
            unanswered: UNANSWERED * unanswered,
        };
        let (of_whom, whose) = ([address_part.as_str(), &name_part], "under this name");
        let name = bucket(Table::Budgets, key("name", of_whom), whose, 1, of_name);
        let (of_whom, whose) = ([address_part.as_str(), ""], "of this client");
        let key_of_client = key("client", of_whom);
        let client = bucket(Table::Clients, key_of_client, whose, of_client, of_client);
        let whose = "of all clients";
        let all = bucket(Table::Breakers, key("all", [""; 2]), whose, ALL, ALL);
        RateLimits {
            server: *server,
            is_named: requester.name.is_some(),
            name,
            client,
            all,
            accepted_name: accepted([&address_part, &["name", &name_part].concat()]),
            accepted_alias: name_part.rsplit_once('@').map(|(local, domain)| {
                let key = accepted([&address_part, &["alias", local].concat()]);
                (key, domain.to_owned())
            }),
            accepted_client: accepted([&address_part, "client"]),
        }
    }

    /// Whether one more ticket may be put to CAS at the expense of these buckets. Nothing is
    /// charged; [`Access::admit`] decides.
    ///
    /// # Errors
    /// As [`Access::admit`].
    pub fn check_rate(&self, limits: &RateLimits) -> Result<(), Failure> {
        self.allowance(limits).map(drop)
    }

    /// Admits one more ticket at the expense of these buckets, and charges it in advance to those
    /// that call for that. A bucket is checked and charged in one step, so that processes that
    /// come at the same moment do not all get its last place. [`Access::settle`] or
    /// [`Access::refund`] must follow; without it the charge is refilled within a minute.
    ///
    /// # Errors
    /// [`Reason::BudgetSpent`]; or [`Reason::SessionsUnreadable`], for CAS would be asked
    /// without a limit if what was charged cannot be read.
    pub fn admit(&self, limits: &RateLimits) -> Result<Admission, Failure> {
        let allowance = self.allowance(limits)?;
        self.charge_in_advance(limits, &allowance)
    }

    /// Makes the charges of an allowance, for which other processes may have left no room since.
    fn charge_in_advance(
        &self,
        limits: &RateLimits,
        allowance: &Allowance,
    ) -> Result<Admission, Failure> {
        let Allowance {
            admission,
            shares,
            outages,
        } = *allowance;
        let now = self.now();
        for (number, bucket) in limits.buckets().into_iter().enumerate() {
            let charges = admission.charges(number);
            if charges.is_empty() {
                continue;
            }
            let mut full = None;
            self.change(bucket.table, &bucket.key, |before| {
                let account = before.and_then(Account::decode).unwrap_or_default();
                let account = account.after_outages(outages);
                full = account.exceeded(bucket.limits(), shares[number], now);
                match full {
                    Some(_) => Change::Keep,
                    None => Change::Put(
                        account
                            .changed(&charges, &[], bucket.limits(), now)
                            .encode(),
                    ),
                }
            });
            if let Some(charge) = full {
                for (number, bucket) in limits.buckets().into_iter().take(number).enumerate() {
                    self.recharge(bucket, &[], &admission.charges(number), outages);
                }
                return Err(exceeded(bucket, charge));
            }
        }
        Ok(admission)
    }

    /// Looks at the buckets.
    fn allowance(&self, limits: &RateLimits) -> Result<Allowance, Failure> {
        let now = self.now();
        let outages = self.breaker_record(&limits.server)?.outages();
        let account = |bucket: &Bucket| Ok(self.account(bucket)?.after_outages(outages));
        let (of_name, of_client) = (account(&limits.name)?, account(&limits.client)?);
        if let Some(charge) = of_name.exceeded(limits.name.limits(), MINUTE, now) {
            return Err(exceeded(&limits.name, charge));
        }
        let share = if of_name.is_clear(now) {
            MINUTE / 2
        } else {
            MINUTE / 4
        };
        let mut shares = [MINUTE, share, share];
        for (number, bucket, account) in [
            (1, &limits.client, of_client),
            (2, &limits.all, account(&limits.all)?),
        ] {
            let Some(charge) = account.exceeded(bucket.limits(), share, now) else {
                continue;
            };
            let has_room = account.exceeded(bucket.limits(), MINUTE, now).is_none();
            let is_accepted =
                self.is_name_accepted(limits)? || number == 2 && self.is_client_accepted(limits)?;
            if !(has_room && is_accepted) {
                return Err(exceeded(bucket, charge));
            }
            shares[number] = MINUTE;
        }
        let admission = Admission {
            // Without a name it would be a crowd's good tickets that count as refused.
            refused: limits.is_named && !of_name.is_free_of_refusals(now),
            unanswered: !(of_name.is_answered(now) && of_client.is_answered(now)),
        };
        Ok(Allowance {
            admission,
            shares,
            outages,
        })
    }

    /// Makes of what was charged in advance what a ticket that CAS did not accept has come to:
    /// `charge`, or nothing.
    pub fn settle(&self, limits: &RateLimits, admission: Admission, charge: Option<Charge>) {
        let server = self.breaker_record(&limits.server);
        let server = server.unwrap_or(BreakerRecord::NEW);
        let charge = match charge {
            // CAS is down for all.
            Some(Charge::Unanswered) if !admission.unanswered && server.is_down() => None,
            charge => charge,
        };
        for (number, bucket) in limits.buckets().into_iter().enumerate() {
            let made = admission.charges(number);
            let due: Vec<Charge> = charge.into_iter().collect();
            let without = |these: &[Charge], others: &[Charge]| -> Vec<Charge> {
                let others = |charge: &&Charge| !others.contains(charge);
                these.iter().filter(others).copied().collect()
            };
            let (missing, surplus) = (without(&due, &made), without(&made, &due));
            self.recharge(bucket, &missing, &surplus, server.outages());
        }
    }

    /// Charges a bucket with `more`, and gives `back` what was charged to it.
    fn recharge(&self, bucket: &Bucket, more: &[Charge], back: &[Charge], outages: u32) {
        if more.is_empty() && back.is_empty() {
            return;
        }
        let now = self.now();
        self.change(bucket.table, &bucket.key, |before| {
            let account = before.and_then(Account::decode).unwrap_or_default();
            let account = account.after_outages(outages);
            Change::Put(account.changed(more, back, bucket.limits(), now).encode())
        });
    }

    /// Refunds these buckets, for CAS has accepted a ticket, and gives back what was charged
    /// for it in advance: after a restart of the host a webmail brings each user's old ticket,
    /// and then a new one. `claimed` says whether the name is accepted as well.
    pub fn refund(&self, limits: &RateLimits, admission: Admission, claimed: Claimed) {
        let now = self.now();
        for (number, bucket) in limits.buckets().into_iter().enumerate() {
            let account = self.account(bucket);
            if account.is_ok_and(|account| account.is_clear(now)) {
                continue;
            }
            self.change(bucket.table, &bucket.key, |before| {
                match before.and_then(Account::decode) {
                    Some(account) => {
                        let back = admission.charges(number);
                        let account = account.changed(&[], &back, bucket.limits(), now);
                        Change::Put(account.refunded(bucket.refused).encode())
                    }
                    None => Change::Keep,
                }
            });
        }
        let name = match (claimed, &limits.accepted_alias) {
            (Claimed::Own, _) => Some((&limits.accepted_name, "")),
            (Claimed::WithDomain, Some((key, domain))) => Some((key, domain.as_str())),
            (Claimed::WithDomain, None) | (Claimed::Another, _) => None,
        };
        for (key, domain) in name.into_iter().chain([(&limits.accepted_client, "")]) {
            let age = self.accepted_age(key, domain).unwrap_or_default();
            if age.is_none_or(|age| age >= ACCEPTED_GRANULARITY) {
                let record = [&now.as_millis().to_be_bytes()[..], domain.as_bytes()].concat();
                self.change(Table::Accepted, key, |_| Change::Put(record.clone()));
            }
        }
    }

    fn account(&self, bucket: &Bucket) -> Result<Account, Failure> {
        let found = self.look_up(bucket.table, &bucket.key, Account::decode)?;
        Ok(found.map_or_else(Account::default, |(account, _)| account))
    }

    fn is_name_accepted(&self, limits: &RateLimits) -> Result<bool, Failure> {
        let alias = limits.accepted_alias.as_ref();
        let is_alias_accepted = match alias {
            Some((key, domain)) => self.is_accepted(key, domain)?,
            None => false,
        };
        Ok(is_alias_accepted || self.is_accepted(&limits.accepted_name, "")?)
    }

    fn is_client_accepted(&self, limits: &RateLimits) -> Result<bool, Failure> {
        self.is_accepted(&limits.accepted_client, "")
    }

    fn is_accepted(&self, key: &Key, domain: &str) -> Result<bool, Failure> {
        let age = self.accepted_age(key, domain)?;
        Ok(age.is_some_and(|age| age < ACCEPTED_FOR))
    }

    /// How long ago it was recorded that CAS accepted a ticket, under a name with this domain
    /// if the key is that of names with one.
    fn accepted_age(&self, key: &Key, domain: &str) -> Result<Option<Duration>, Failure> {
        let record = |record: &[u8]| {
            let (accepted, of) = moment(record)?;
            (of == domain.as_bytes()).then_some(accepted)
        };
        let found = self.look_up(Table::Accepted, key, record)?;
        Ok(found.and_then(|(accepted, _)| self.now().since(accepted)))
    }
}

fn exceeded(bucket: &Bucket, charge: Charge) -> Failure {
    let whose = bucket.whose;
    let what = match charge {
        Charge::Refused => format!("CAS refused too many tickets {whose} within a minute"),
        Charge::Unanswered => {
            format!("CAS left too many tickets {whose} unanswered within a minute")
        }
    };
    Failure::new(Reason::BudgetSpent, what)
}

#[cfg(test)]
#[path = "rate_limit_tests.rs"]
mod tests;
