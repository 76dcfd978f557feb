//! The rate limit of tickets that CAS refuses or leaves unanswered. Invented tickets cost CAS a
//! limited number of requests a minute, however many processes, names and addresses they come by,
//! and no crowd of strangers locks out clients with valid tickets.
//!
//! # Policy
//!
//! 1. A refused ticket (or one to which the reply is none of CAS) is charged to three buckets, each
//!    refilled within a minute: the bucket of the *name* (client address, channel, and the user
//!    name that the client sends), of the *client* (address and channel), and of *all* clients
//!    (channel). The channel is CASPT, or the place of a password (PLAIN, the daemon). With
//!    `caspt_rate_limit` = N the bucket of the name holds N refusals, that of the client 4 N, that
//!    of all 20 N. An IPv6 address counts by its /64. Names are compared in lower case, and a
//!    missing name is a name of its own. If the host does not reveal the address, the bucket of the
//!    client is as large as that of all, because it belongs to many clients.
//! 2. A ticket is not sent to CAS if the bucket of the name is full. What the other two allow
//!    depends on the name: a name with charges may fill them to a quarter; a name without charges,
//!    to a half; and a name of which CAS has accepted a ticket within [`ACCEPTED_TTL`], from this
//!    address and by this channel, may use all of them. (For the bucket of all, an accepted ticket
//!    of any name of the client counts.) A ticket vouches for the name of its own user only
//!    ([`Claimed`]). So what strangers type into the password form of a webmail, under any names,
//!    delays neither the webmail's own tickets, which come by CASPT, nor those of known users,
//!    except under the names that are typed.
//! 3. A ticket that CAS leaves unanswered is charged to a second state of the same buckets, which
//!    hold few ([`MAX_UNANSWERED`] for a name), because each such ticket occupies a connection to
//!    CAS for seconds. While the name or its client has such a charge, its tickets are charged
//!    before CAS is asked, and an answer gives the charge back. These charges lapse when the
//!    circuit breaker opens: then CAS was down for all. In the same channel, a ticket of a name with
//!    refusals is charged to the name as refused before CAS is asked. Each of these charges is
//!    checked and made in one step ([`SessionCacheHandle::admit`]), so that concurrent tickets
//!    count as many as consecutive ones.
//! 4. A ticket that CAS accepts takes one refusal back from its three buckets, and all unanswered
//!    tickets. Cache hits are never charged.
//!
//! Clients choose names and addresses, so these must not evict what limits them: names, clients and
//! accepted names have tables of their own, and the buckets of all are in a table in which no
//! client creates a record.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::backend::{Change, Table};
use super::cache_key::Key;
use super::circuit_breaker::BreakerRecord;
use super::entry::boot_time;
use super::handle::SessionCacheHandle;
use super::rate_bucket::{BucketState, Charge, MINUTE};
use crate::error::{Failure, Reason};

/// The size of a client's bucket, as a multiple of a name's.
const CLIENT_FACTOR: u64 = 4;

/// The size of the bucket of all clients, as a multiple of a name's.
const ALL_FACTOR: u64 = 20;

/// The number of unanswered tickets of one name in a minute.
const MAX_UNANSWERED: u64 = 30;

/// How long an accepted ticket vouches for its name.
const ACCEPTED_TTL: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often the acceptance of a name's tickets is recorded.
const ACCEPTED_GRANULARITY: Duration = Duration::from_secs(3_600);

/// How a ticket arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// By the mechanism for tickets, from the code of a webmail.
    Caspt,
    /// In the place of a password, perhaps typed into a form by a stranger.
    Password,
}

impl Channel {
    /// The channel of a mechanism, by its name in the log.
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

/// The sender of a ticket, as far as the rate limit distinguishes clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    address: Option<String>,
    channel: Channel,
    name: Option<String>,
}

impl Requester {
    /// `address` may be followed by a port (`192.0.2.1;4711`). Of an IPv6 address the network
    /// counts, because a client can use any number of addresses in it.
    pub fn new(address: Option<&str>, channel: Channel, name: Option<&str>) -> Self {
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
            channel,
            name: name.map(str::to_lowercase),
        }
    }
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = self.channel.name();
        let address = self.address.as_deref().unwrap_or("an unknown address");
        match &self.name {
            Some(name) => write!(f, "{name} at {address} by {channel}"),
            None => write!(f, "{address} by {channel}"),
        }
    }
}

/// A ticket that may be sent to CAS, and what is charged for it in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whether the bucket of the name is charged with [`Charge::Refused`], because the name has
    /// refusals.
    refused: bool,
    /// Whether all buckets are charged with [`Charge::Unanswered`], because the name or the client
    /// has unanswered tickets.
    unanswered: bool,
}

impl Admission {
    /// Nothing is charged in advance.
    pub const TRUSTED: Self = Self {
        refused: false,
        unanswered: false,
    };

    /// The advance charges of a bucket, by its index in [`RateLimits::buckets`].
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

/// What the buckets allow a requester at one point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    admission: Admission,
    /// The share of each bucket that may be filled, in the order of [`RateLimits::buckets`].
    shares: [u64; 3],
    /// The number of the server's last outage.
    outages: u32,
}

/// A bucket: its key, and its size.
struct Bucket {
    table: Table,
    key: Key,
    whose: &'static str,
    /// The number of refused tickets a minute.
    refused: u64,
    /// The number of unanswered tickets a minute.
    unanswered: u64,
}

/// The buckets of one requester at one server.
pub struct RateLimits {
    server: Key,
    /// Whether the client sends a name, so that the bucket of the name belongs to one user.
    is_named: bool,
    name: Bucket,
    client: Bucket,
    all: Bucket,
    /// The key under which the acceptance of this name is recorded.
    accepted_name: Key,
    /// If the name has a domain: the key for the name without it, and the domain.
    accepted_alias: Option<(Key, String)>,
    /// The key under which the acceptance of this client is recorded.
    accepted_client: Key,
}

/// The relation of the name that the client has sent to the user of an accepted ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The name is the user's, or the client has sent none.
    Own,
    /// The name is the user's with a domain, which may be the host's default domain. Only the last
    /// such name is recorded as accepted, because there are any number of them.
    WithDomain,
    /// The name is another one. It is not recorded: otherwise a ticket would vouch for any name
    /// that its owner writes.
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
    /// The buckets of `requester` at the server of the circuit breaker `server`, which may refuse
    /// `limit` tickets a minute under one name.
    pub fn rate_limits(&self, requester: &Requester, limit: u64, server: &Key) -> RateLimits {
        let Requester {
            address,
            channel,
            name,
        } = requester;
        let text = |text: &Option<String>| match text {
            Some(text) => ["=", text].concat(),
            None => String::new(),
        };
        let (address_part, name_part) = (text(address), text(name));
        let key = |level: &str, parts: [&str; 2]| {
            let limit = limit.to_be_bytes();
            let [address, name] = parts.map(str::as_bytes);
            let channel = channel.name().as_bytes();
            let parts = [
                level.as_bytes(),
                server.as_bytes(),
                &limit,
                channel,
                address,
                name,
            ];
            self.tiers.secret.key(&parts)
        };
        let accepted = |parts: [&str; 2]| {
            let [address, name] = parts.map(str::as_bytes);
            let parts = [&b"accepted"[..], channel.name().as_bytes(), address, name];
            self.tiers.secret.key(&parts)
        };
        let of_client = match address {
            Some(_) => CLIENT_FACTOR,
            None => ALL_FACTOR,
        };
        // All users of a client may come without a name.
        let of_name = if name.is_some() { 1 } else { of_client };
        let bucket = |table, key, whose, refused: u64, unanswered: u64| Bucket {
            table,
            key,
            whose,
            refused: limit.saturating_mul(refused),
            unanswered: MAX_UNANSWERED * unanswered,
        };
        let (of_whom, whose) = ([address_part.as_str(), &name_part], "under this name");
        let name = bucket(Table::Names, key("name", of_whom), whose, 1, of_name);
        let (of_whom, whose) = ([address_part.as_str(), ""], "of this client");
        let key_of_client = key("client", of_whom);
        let client = bucket(Table::Clients, key_of_client, whose, of_client, of_client);
        let whose = "of all clients";
        let all = bucket(
            Table::Breakers,
            key("all", [""; 2]),
            whose,
            ALL_FACTOR,
            ALL_FACTOR,
        );
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

    /// Requires that these buckets have room for one more ticket. Nothing is charged;
    /// [`SessionCacheHandle::admit`] decides.
    ///
    /// # Errors
    /// [`Reason::BudgetSpent`]; or [`Reason::SessionsUnreadable`], because without the buckets CAS
    /// would be asked without a limit.
    pub fn check_rate(&self, limits: &RateLimits) -> Result<Allowance, Failure> {
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
            // Without a name, the valid tickets of a crowd would count as refused.
            refused: limits.is_named && !of_name.is_free_of_refusals(now),
            unanswered: !(of_name.is_answered(now) && of_client.is_answered(now)),
        };
        Ok(Allowance {
            admission,
            shares,
            outages,
        })
    }

    /// Admits one more ticket by an allowance of [`SessionCacheHandle::check_rate`], and charges it
    /// in advance where necessary. A bucket is checked again and charged in one step, so that
    /// concurrent processes do not all get its last place. [`SessionCacheHandle::settle`] or
    /// [`SessionCacheHandle::refund`] must follow; without it the charge is refilled within a
    /// minute.
    ///
    /// # Errors
    /// [`Reason::BudgetSpent`], if other processes have left no room since.
    pub fn admit(&self, limits: &RateLimits, allowance: &Allowance) -> Result<Admission, Failure> {
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
                let account = before.and_then(BucketState::decode).unwrap_or_default();
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

    /// Replaces the advance charges by the result of a ticket that CAS did not accept: `charge`, or
    /// nothing.
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

    /// Charges a bucket with `more`, and gives `back` earlier charges.
    fn recharge(&self, bucket: &Bucket, more: &[Charge], back: &[Charge], outages: u32) {
        if more.is_empty() && back.is_empty() {
            return;
        }
        let now = self.now();
        self.change(bucket.table, &bucket.key, |before| {
            let account = before.and_then(BucketState::decode).unwrap_or_default();
            let account = account.after_outages(outages);
            Change::Put(account.changed(more, back, bucket.limits(), now).encode())
        });
    }

    /// Refunds the buckets after CAS has accepted a ticket, and gives its advance charges back:
    /// after a restart of the host, a webmail brings each user's old ticket, and then a new one.
    /// `claimed` decides whether the name is recorded as accepted.
    pub fn refund(&self, limits: &RateLimits, admission: Admission, claimed: Claimed) {
        let now = self.now();
        for (number, bucket) in limits.buckets().into_iter().enumerate() {
            let account = self.account(bucket);
            if account.is_ok_and(|account| account.is_clear(now)) {
                continue;
            }
            self.change(bucket.table, &bucket.key, |before| {
                match before.and_then(BucketState::decode) {
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

    fn account(&self, bucket: &Bucket) -> Result<BucketState, Failure> {
        let found = self.look_up(bucket.table, &bucket.key, BucketState::decode)?;
        Ok(found.map_or_else(BucketState::default, |(account, _)| account))
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
        Ok(age.is_some_and(|age| age < ACCEPTED_TTL))
    }

    /// The time since CAS accepted a ticket of the key; for names with a domain, with this domain.
    fn accepted_age(&self, key: &Key, domain: &str) -> Result<Option<Duration>, Failure> {
        let record = |record: &[u8]| {
            let (accepted, of) = boot_time(record)?;
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
