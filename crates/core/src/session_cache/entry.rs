//! The entries of the session cache, and how they are serialized. The name of the file contains the
//! version of the format.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::flush_log::FlushNumber;
use crate::config::CasConfig;
use crate::error::{Failure, Reason};
use crate::platform::clock::{BootTime, WallTime};
use crate::policy::user_mapping::{MailUser, SessionUser};
use crate::principal::Principal;

/// The lifetimes of sessions, by the current options.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// The maximum time since the validation.
    pub absolute: Duration,
    /// The maximum time since the last use.
    pub idle: Duration,
}

impl Lifetimes {
    /// No limit but the validity of the session.
    pub const UNLIMITED: Self = Self {
        absolute: Duration::MAX,
        idle: Duration::MAX,
    };

    /// The lifetimes of tickets.
    pub fn of_tickets(config: &CasConfig) -> Self {
        Self {
            absolute: config.session_ttl,
            idle: config.session_idle,
        }
    }

    /// Uses within this interval are recorded as one: a session that is used many times a second is
    /// written a few times in its idle time-out.
    fn granularity(&self) -> Duration {
        match self.idle {
            // Uses need not be recorded, because there is no idle time-out.
            Duration::MAX => Duration::MAX,
            idle => (idle / 16).min(Duration::from_secs(60)),
        }
    }
}

/// How long a validation is valid, whatever the options are later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When the credential must be validated again.
    pub revalidate_at: BootTime,
    /// When the credential itself expires.
    pub expires: WallTime,
}

impl Validity {
    /// No limit: the credential is used up, and only its session remains.
    pub const UNLIMITED: Self = Self {
        revalidate_at: BootTime::from_millis(u64::MAX),
        expires: WallTime::LATEST,
    };
}

/// The circumstances in which a session is opened. They are recorded before the validation, so that
/// a flush during the validation prevents the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOrigin {
    mechanism: String,
    service: String,
    pub(crate) since: FlushNumber,
}

impl SessionOrigin {
    /// The maximum length of the mechanism and of the service, in bytes.
    const MAX_TEXT_BYTES: usize = 80;

    /// Records the SASL mechanism, the service, and the last flush.
    pub(crate) fn new(mechanism: &str, service: &str, since: FlushNumber) -> Self {
        let short = |text: &str| text[..text.floor_char_boundary(Self::MAX_TEXT_BYTES)].to_owned();
        Self {
            mechanism: short(mechanism),
            service: short(service),
            since,
        }
    }
}

/// What decides whether a session has ended, beside the current boot time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpiryContext {
    pub(crate) wall: WallTime,
    pub(crate) lifetimes: Lifetimes,
}

/// The entry of a validated credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub user: SessionUser,
    pub(crate) opened: BootTime,
    pub used: BootTime,
    pub(crate) validity: Validity,
    pub(crate) since: FlushNumber,
}

impl Session {
    /// The offset of the texts in a record, in bytes: after four times and a flush number.
    const TEXTS_OFFSET: usize = 4 * 8 + FlushNumber::LENGTH;

    /// The range of the time of the last use in a record, in bytes.
    const LAST_USE_RANGE: std::ops::Range<usize> = 8..16;

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

    /// Whether the session has not ended. A session from the future was written after another boot,
    /// and is invalid.
    pub(crate) fn is_alive(&self, now: BootTime, wall: WallTime, lifetimes: &Lifetimes) -> bool {
        let within =
            |start: BootTime, longest: Duration| now.since(start).is_some_and(|age| age < longest);
        within(self.opened, lifetimes.absolute)
            && within(self.used, lifetimes.idle)
            && now < self.validity.revalidate_at
            && wall < self.validity.expires
    }

    /// Whether a record is a session that has not ended.
    pub(crate) fn is_alive_in(bytes: &[u8], now: BootTime, expiry: &ExpiryContext) -> bool {
        let ExpiryContext { wall, lifetimes } = expiry;
        Self::decode(bytes).is_some_and(|session| session.is_alive(now, *wall, lifetimes))
    }

    /// Whether the last recorded use is so old that this one must be recorded.
    pub(crate) fn is_stale(&self, now: BootTime, lifetimes: &Lifetimes) -> bool {
        now.since(self.used)
            .is_some_and(|age| age >= lifetimes.granularity())
    }

    /// When the session ends, as far as boot times decide; the credential may expire earlier.
    pub(crate) fn end(&self, lifetimes: &Lifetimes) -> BootTime {
        let absolute = self.opened.plus(lifetimes.absolute);
        let idle = self.used.plus(lifetimes.idle);
        absolute.min(idle).min(self.validity.revalidate_at)
    }

    /// Serializes the session and its origin.
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

    /// Parses the part of a session that a login needs.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (opened, rest) = boot_time(bytes)?;
        let (used, rest) = boot_time(rest)?;
        let (revalidate_at, rest) = boot_time(rest)?;
        let (expires, rest) = boot_time(rest)?;
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

    /// The flush number of a record, with or without its seal.
    pub(crate) fn since(bytes: &[u8]) -> Option<FlushNumber> {
        let since = bytes.get(4 * 8..)?.first_chunk()?;
        Some(FlushNumber::from_bytes(*since))
    }

    /// The mechanism and the service of a record.
    pub(crate) fn origin(bytes: &[u8]) -> Option<(&str, &str)> {
        let [mechanism, service, ..] = texts(bytes.get(Self::TEXTS_OFFSET..)?)?;
        Some((mechanism, service))
    }

    /// The record with the host's name of the user, at a login at `now`.
    pub(crate) fn with_host_name(
        bytes: &[u8],
        host_name: Option<&str>,
        now: BootTime,
    ) -> Option<Vec<u8>> {
        let (head, rest) = bytes.split_at_checked(Self::TEXTS_OFFSET)?;
        let [mechanism, service, principal, mail_user, _] = texts(rest)?;
        let mut renamed = Self::used_at(head, now);
        let host_name = host_name.unwrap_or_default();
        let texts = [mechanism, service, principal, mail_user, host_name];
        append_texts(&mut renamed, texts);
        Some(renamed)
    }

    /// The record with a use at `now`.
    pub(crate) fn used_at(bytes: &[u8], now: BootTime) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if let Some(used) = bytes.get_mut(Self::LAST_USE_RANGE) {
            used.copy_from_slice(&now.as_millis().to_be_bytes());
        }
        bytes
    }
}

/// The number of texts in a session's record: mechanism, service, principal, mail user, and the
/// host's name of the user, which is empty before it is known.
const TEXT_COUNT: usize = 5;

/// Appends texts of at most 255 bytes, each after its length.
fn append_texts(bytes: &mut Vec<u8>, texts: [&str; TEXT_COUNT]) {
    let shortened = texts.map(|text| &text[..text.floor_char_boundary(usize::from(u8::MAX))]);
    bytes.extend(shortened.map(|text| text.len() as u8));
    for text in shortened {
        bytes.extend_from_slice(text.as_bytes());
    }
}

/// Parses the texts that [`append_texts`] wrote.
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

/// The entry of a credential that was definitely refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NegativeEntry {
    pub(crate) failure: Failure,
    pub(crate) until: BootTime,
}

impl NegativeEntry {
    /// The lifetime of a negative entry: long enough for the retries of one client, and too short
    /// to matter to anybody else.
    const LIFETIME: Duration = Duration::from_secs(30);

    /// The maximum length of the detail, in bytes: a server may send a long one, and a record has
    /// limited room.
    const MAX_DETAIL_BYTES: usize = 200;

    pub(crate) fn new(failure: &Failure, now: BootTime) -> Self {
        let detail = failure.detail();
        let end = detail.floor_char_boundary(Self::MAX_DETAIL_BYTES);
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
        let (until, rest) = boot_time(bytes)?;
        let (code, detail) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        Some(Self {
            failure: Failure::new(Reason::from_code(code)?, detail),
            until,
        })
    }
}

/// Parses a time at the beginning of `bytes`, and returns the rest.
pub(crate) fn boot_time(bytes: &[u8]) -> Option<(BootTime, &[u8])> {
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
    fn truncated_record_is_ignored() {
        let bytes = session().encode(&origin());
        for length in 0..bytes.len() {
            assert_eq!(Session::decode(&bytes[..length]), None);
            assert_eq!(NegativeEntry::decode(&bytes[..length]), None);
        }
    }

    #[test]
    fn session_ends_after_ttl_and_idle_timeout_and_is_invalid_in_the_future() {
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
    fn session_ends_with_its_validity_whatever_the_options() {
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
    fn client_cannot_enlarge_a_record() {
        let long = SessionOrigin::new("CASPT", &"é".repeat(10_000), FlushNumber::of_test(0));
        let bytes = session().encode(&long);
        assert!(bytes.len() < 160);
        assert!(Session::decode(&bytes).is_some());
    }

    #[test]
    fn negative_entry_lives_for_seconds() {
        let failure = Failure::new(Reason::TicketRefused, "no");
        let refusal = NegativeEntry::new(&failure, BootTime::from_millis(1_000));
        assert!(refusal.is_alive(BootTime::from_millis(30_999)));
        assert!(!refusal.is_alive(BootTime::from_millis(31_000)));
        assert!(!refusal.is_alive(BootTime::from_millis(0)));
    }
}
