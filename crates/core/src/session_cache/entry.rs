//! What is kept: a session, or a refusal. As bytes that a later version can
//! tell from its own: the name of the file has the format's number.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::flush_log::FlushNumber;
use crate::config::CasConfig;
use crate::error::{Failure, Reason};
use crate::platform::clock::{BootTime, WallTime};
use crate::policy::user_mapping::{MailUser, SessionUser};
use crate::principal::Principal;

/// How long sessions may live, by the options of now.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// From the validation on.
    pub absolute: Duration,
    /// From the last use on.
    pub idle: Duration,
}

impl Lifetimes {
    /// No longer than the bounds of the session say.
    pub const UNLIMITED: Self = Self {
        absolute: Duration::MAX,
        idle: Duration::MAX,
    };

    /// Those of tickets.
    pub fn of_tickets(config: &CasConfig) -> Self {
        Self {
            absolute: config.session_ttl,
            idle: config.session_idle,
        }
    }

    /// Uses closer together than this are one use: a session that is used many
    /// times a second is written a few times in its idle lifetime.
    fn granularity(&self) -> Duration {
        match self.idle {
            // Whether it is used changes nothing: no use need be written.
            Duration::MAX => Duration::MAX,
            idle => (idle / 16).min(Duration::from_secs(60)),
        }
    }
}

/// Until when a validation revalidate_at, whatever the options say later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Until when it need not be repeated.
    pub revalidate_at: BootTime,
    /// When the credential itself ends.
    pub expires: WallTime,
}

impl Validity {
    /// No bounds: the credential is spent, and its session is all there is.
    pub const UNLIMITED: Self = Self {
        revalidate_at: BootTime::from_millis(u64::MAX),
        expires: WallTime::LATEST,
    };
}

/// How a session comes to be: noted before its credential is validated, so that
/// what is flushed meanwhile is not opened after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOrigin {
    mechanism: String,
    service: String,
    pub(crate) since: FlushNumber,
}

impl SessionOrigin {
    /// So much of either word is kept, in bytes: they are for people to read.
    const LONGEST: usize = 80;

    /// By which SASL mechanism, at which service, and what was flushed before.
    pub(crate) fn new(mechanism: &str, service: &str, since: FlushNumber) -> Self {
        let short = |text: &str| text[..text.floor_char_boundary(Self::LONGEST)].to_owned();
        Self {
            mechanism: short(mechanism),
            service: short(service),
            since,
        }
    }
}

/// What ends a session, beside the present moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) wall: WallTime,
    pub(crate) lifetimes: Lifetimes,
}

/// The record that a credential was good, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub user: SessionUser,
    pub(crate) opened: BootTime,
    pub used: BootTime,
    pub(crate) validity: Validity,
    pub(crate) since: FlushNumber,
}

impl Session {
    /// The offset of a record's texts, in bytes: behind four times and a flush number.
    const TEXTS: usize = 4 * 8 + FlushNumber::LENGTH;

    /// In bytes: where the moment of the last use stands in a record.
    const USED: std::ops::Range<usize> = 8..16;

    pub(crate) fn new(
        user: SessionUser,
        now: BootTime,
        validity: Validity,
        since: FlushNumber,
    ) -> Self {
        Self {
            user,
            opened: now,
            used: now,
            validity,
            since,
        }
    }

    /// Whether it is still a session. One from the future is none: it is from
    /// another boot, or from nowhere.
    pub(crate) fn is_alive(&self, now: BootTime, wall: WallTime, lifetimes: &Lifetimes) -> bool {
        let within =
            |start: BootTime, longest: Duration| now.since(start).is_some_and(|age| age < longest);
        within(self.opened, lifetimes.absolute)
            && within(self.used, lifetimes.idle)
            && now < self.validity.revalidate_at
            && wall < self.validity.expires
    }

    /// Whether a record is that of a session that is still one.
    pub(crate) fn is_alive_in(bytes: &[u8], now: BootTime, ending: &Ending) -> bool {
        let Ending { wall, lifetimes } = ending;
        Self::decode(bytes).is_some_and(|session| session.is_alive(now, *wall, lifetimes))
    }

    /// Whether its last use is long enough ago to be written anew.
    pub(crate) fn is_stale(&self, now: BootTime, lifetimes: &Lifetimes) -> bool {
        now.since(self.used)
            .is_some_and(|age| age >= lifetimes.granularity())
    }

    /// The moment from which on it is none any more, as far as moments say: the
    /// credential itself may end before.
    pub(crate) fn end(&self, lifetimes: &Lifetimes) -> BootTime {
        let absolute = self.opened.plus(lifetimes.absolute);
        let idle = self.used.plus(lifetimes.idle);
        absolute.min(idle).min(self.validity.revalidate_at)
    }

    /// As bytes, with what only people want to know.
    pub(crate) fn encode(&self, origin: &SessionOrigin) -> Vec<u8> {
        let SessionOrigin {
            mechanism, service, ..
        } = origin;
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(&self.opened.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.used.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.validity.revalidate_at.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.validity.expires.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.since.to_bytes());
        append_texts(
            &mut bytes,
            [
                mechanism,
                service,
                self.user.principal.as_str(),
                self.user.mail_user.as_str(),
                self.user.host_name.as_deref().unwrap_or_default(),
            ],
        );
        bytes
    }

    /// What a login needs to know; it passes over what only people want.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (opened, rest) = moment(bytes)?;
        let (used, rest) = moment(rest)?;
        let (revalidate_at, rest) = moment(rest)?;
        let (expires, rest) = moment(rest)?;
        let (since, rest) = rest.split_first_chunk()?;
        let [_, _, principal, mail_user, host_name] = texts(rest)?;
        let expires = WallTime::from_millis(expires.as_millis());
        let user = SessionUser {
            principal: Principal::from_record(principal),
            mail_user: MailUser::from_record(mail_user),
            host_name: (!host_name.is_empty()).then(|| host_name.to_owned()),
        };
        Some(Self {
            user,
            opened,
            used,
            validity: Validity {
                revalidate_at,
                expires,
            },
            since: FlushNumber::from_bytes(*since),
        })
    }

    /// The last flush before its validation, of a record with or without its seal.
    pub(crate) fn since(bytes: &[u8]) -> Option<FlushNumber> {
        let since = bytes.get(4 * 8..)?.first_chunk()?;
        Some(FlushNumber::from_bytes(*since))
    }

    /// The mechanism and the service of a record.
    pub(crate) fn origin(bytes: &[u8]) -> Option<(&str, &str)> {
        let [mechanism, service, ..] = texts(bytes.get(Self::TEXTS..)?)?;
        Some((mechanism, service))
    }

    /// The same record with the name that the host gave the user at a login at `now`.
    pub(crate) fn with_host_name(
        bytes: &[u8],
        host_name: Option<&str>,
        now: BootTime,
    ) -> Option<Vec<u8>> {
        let (head, rest) = bytes.split_at_checked(Self::TEXTS)?;
        let [mechanism, service, principal, mail_user, _] = texts(rest)?;
        let mut renamed = Self::used_at(head, now);
        let host_name = host_name.unwrap_or_default();
        let texts = [mechanism, service, principal, mail_user, host_name];
        append_texts(&mut renamed, texts);
        Some(renamed)
    }

    /// The same record of a session that is used at `now`.
    pub(crate) fn used_at(bytes: &[u8], now: BootTime) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if let Some(used) = bytes.get_mut(Self::USED) {
            used.copy_from_slice(&now.as_millis().to_be_bytes());
        }
        bytes
    }
}

/// The number of texts in the record of a session: mechanism, service, principal, mail
/// user, and the host's name of the user, which is empty before it is known.
const TEXT_COUNT: usize = 5;

/// Appends texts of at most 255 bytes, with their lengths before them.
fn append_texts(bytes: &mut Vec<u8>, texts: [&str; TEXT_COUNT]) {
    let shortened = texts.map(|text| &text[..text.floor_char_boundary(usize::from(u8::MAX))]);
    bytes.extend(shortened.map(|text| text.len() as u8));
    for text in shortened {
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// The texts that [`append_texts`] wrote.
fn texts(bytes: &[u8]) -> Option<[&str; TEXT_COUNT]> {
    let (lengths, mut rest) = bytes.split_first_chunk::<TEXT_COUNT>()?;
    let mut texts = [""; TEXT_COUNT];
    for (text, length) in texts.iter_mut().zip(lengths) {
        let (head, tail) = rest.split_at_checked(usize::from(*length))?;
        *text = std::str::from_utf8(head).ok()?;
        rest = tail;
    }
    rest.is_empty().then_some(texts)
}

/// The record that a credential was definitely refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NegativeEntry {
    pub(crate) failure: Failure,
    pub(crate) until: BootTime,
}

impl NegativeEntry {
    /// How long a refusal is remembered: long enough for the retries of one
    /// client, too short to matter to anyone else.
    const LIFETIME: Duration = Duration::from_secs(30);

    /// So much of the detail is kept, in bytes: a server may say a lot, and the
    /// room for a record is bounded.
    const LONGEST_DETAIL: usize = 200;

    pub(crate) fn new(failure: &Failure, now: BootTime) -> Self {
        let detail = failure.detail();
        let end = detail.floor_char_boundary(Self::LONGEST_DETAIL);
        Self {
            failure: Failure::new(failure.reason(), &detail[..end]),
            until: now.plus(Self::LIFETIME),
        }
    }

    pub(crate) fn is_alive(&self, now: BootTime) -> bool {
        self.until
            .since(now)
            .is_some_and(|left| !left.is_zero() && left <= Self::LIFETIME)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.until.as_millis().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.failure.reason().code().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(self.failure.detail().as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (until, rest) = moment(bytes)?;
        let (code, detail) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        Some(Self {
            failure: Failure::new(Reason::from_code(code)?, detail),
            until,
        })
    }
}

/// The moment at the head of `bytes`, and the rest of them.
pub(crate) fn moment(bytes: &[u8]) -> Option<(BootTime, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((BootTime::from_millis(u64::from_be_bytes(*head)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let alice = SessionUser::of_test("alice");
        let since = FlushNumber::of_test(3);
        Session::new(
            alice,
            BootTime::from_millis(1_000),
            Validity::UNLIMITED,
            since,
        )
    }

    fn origin() -> SessionOrigin {
        SessionOrigin::new("CASPT", "imap://mail.univ.fr", FlushNumber::of_test(3))
    }

    #[test]
    fn records_come_back_as_they_were() {
        let session = session();
        let bytes = session.encode(&origin());
        assert_eq!(Session::decode(&bytes), Some(session.clone()));
        assert_eq!(
            Session::origin(&bytes),
            Some(("CASPT", "imap://mail.univ.fr"))
        );
        let now = BootTime::from_millis(2_000);
        let used = Session {
            used: now,
            ..session
        };
        assert_eq!(Session::used_at(&bytes, now), used.encode(&origin()));
        let renamed = Session::with_host_name(&bytes, Some("alice@univ.fr"), now).unwrap();
        let renamed = Session::decode(&renamed).unwrap();
        assert_eq!(renamed.user.host_name.as_deref(), Some("alice@univ.fr"));
        assert_eq!(renamed.used, now);
        let failure = Failure::new(Reason::TicketRefused, "CAS says INVALID_TICKET: no");
        let refusal = NegativeEntry::new(&failure, BootTime::from_millis(5));
        assert_eq!(NegativeEntry::decode(&refusal.encode()), Some(refusal));
        let chatter = Failure::new(Reason::TicketRefused, "é".repeat(60_000));
        assert!(
            NegativeEntry::new(&chatter, BootTime::from_millis(5))
                .encode()
                .len()
                < 250
        );
    }

    #[test]
    fn half_a_record_is_none() {
        let bytes = session().encode(&origin());
        for length in 0..bytes.len() {
            assert_eq!(Session::decode(&bytes[..length]), None);
            assert_eq!(NegativeEntry::decode(&bytes[..length]), None);
        }
    }

    #[test]
    fn a_session_ends_at_both_its_lifetimes_and_has_not_begun_in_the_future() {
        let lifetimes = Lifetimes {
            absolute: Duration::from_millis(100),
            idle: Duration::from_millis(40),
        };
        let mut session = session();
        let wall = WallTime::from_millis(500);
        let alive =
            |session: &Session, at| session.is_alive(BootTime::from_millis(at), wall, &lifetimes);
        assert!(!alive(&session, 999));
        assert!(alive(&session, 1_000));
        assert!(alive(&session, 1_039));
        assert!(!alive(&session, 1_040));
        session.used = BootTime::from_millis(1_090);
        assert!(alive(&session, 1_099));
        assert!(!alive(&session, 1_100));
    }

    #[test]
    fn a_session_ends_at_its_own_bounds_whatever_the_options_allow() {
        let lifetimes = Lifetimes {
            absolute: Duration::MAX,
            idle: Duration::MAX,
        };
        let mut session = session();
        session.validity = Validity {
            revalidate_at: BootTime::from_millis(1_050),
            expires: WallTime::from_millis(700),
        };
        let alive = |at, wall| {
            let wall = WallTime::from_millis(wall);
            session.is_alive(BootTime::from_millis(at), wall, &lifetimes)
        };
        assert!(alive(1_049, 699));
        assert!(!alive(1_050, 699));
        assert!(!alive(1_049, 700));
    }

    #[test]
    fn a_client_cannot_make_a_record_long() {
        let long = SessionOrigin::new("CASPT", &"é".repeat(10_000), FlushNumber::of_test(0));
        let bytes = session().encode(&long);
        assert!(bytes.len() < 160);
        assert!(Session::decode(&bytes).is_some());
    }

    #[test]
    fn a_refusal_is_remembered_for_seconds() {
        let failure = Failure::new(Reason::TicketRefused, "no");
        let refusal = NegativeEntry::new(&failure, BootTime::from_millis(1_000));
        assert!(refusal.is_alive(BootTime::from_millis(30_999)));
        assert!(!refusal.is_alive(BootTime::from_millis(31_000)));
        assert!(!refusal.is_alive(BootTime::from_millis(0)));
    }
}
