//! Tests of sessions over both tiers, with a clock that the tests set.

use std::path::Path;
use std::time::Duration;

use super::backend::Table;
use super::backend::{Backend, Change};
use super::entry::Session;
use super::*;
use crate::credential::CredentialKind;
use crate::platform::clock::ManualClock;
use crate::platform::log::Kept;
use crate::policy::user_mapping::SessionUser;
use crate::state_dir::lock_file::{Locks, What};

pub(crate) const LIFETIMES: Lifetimes = Lifetimes {
    absolute: Duration::from_secs(28_800),
    idle: Duration::from_secs(3_600),
};

const POLICY: [u8; 32] = [0; 32];

pub(crate) struct CacheEnv {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sessions: SessionCache,
    pub(crate) log: Kept,
}

pub(crate) fn cache_env(state_dir: &Path) -> CacheEnv {
    let clock = Arc::new(ManualClock::default());
    let config = SessionsConfig {
        state_dir: state_dir.to_owned(),
        capacity: 100,
    };
    CacheEnv {
        sessions: SessionCache::new(config, Arc::clone(&clock) as Arc<dyn Clock>),
        clock,
        log: Kept::default(),
    }
}

impl CacheEnv {
    pub(crate) fn open(&self) -> SessionCacheHandle<'_> {
        self.sessions.open(&self.log).unwrap()
    }
}

/// Opens a session of Alice.
pub(crate) fn begin(access: &SessionCacheHandle<'_>, kind: CredentialKind, key: &Key) {
    let origin = access.origin("CASPT", "imap://m").unwrap();
    access.insert_session(
        kind,
        key,
        &alice(),
        Validity::UNLIMITED,
        &LIFETIMES,
        &origin,
    );
}

pub(crate) fn alice() -> SessionUser {
    SessionUser::of_test("alice")
}

#[test]
fn session_is_bound_to_credential_service_and_policy() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
    begin(&access, CredentialKind::Ticket, &key);
    assert_eq!(
        access
            .find(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap(),
        Some((alice(), Source::Host))
    );
    for other in [
        access.key(CredentialKind::Token, "imap://m", &POLICY, "PT-1"),
        access.key(CredentialKind::Ticket, "pop://m", &POLICY, "PT-1"),
        access.key(CredentialKind::Ticket, "imap://m", &[1; 32], "PT-1"),
        access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-2"),
    ] {
        assert_eq!(
            access
                .find(CredentialKind::Ticket, &other, &LIFETIMES)
                .unwrap(),
            None
        );
    }
}

#[test]
fn unused_session_ends() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = Key::of_test(1);
    begin(&access, CredentialKind::Ticket, &key);
    env.clock.advance(LIFETIMES.idle - Duration::from_millis(1));
    assert!(
        access
            .find(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .is_some()
    );
    env.clock.advance(LIFETIMES.idle);
    assert!(
        access
            .find(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .is_none()
    );
}

#[test]
fn used_session_ends_after_its_ttl() {
    for shared in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let env = cache_env(if shared { directory.path() } else { &file });
        let access = env.open();
        let key = Key::of_test(1);
        begin(&access, CredentialKind::Ticket, &key);
        for _ in 0..15 {
            env.clock.advance(Duration::from_secs(1_800));
            assert!(
                access
                    .find(CredentialKind::Ticket, &key, &LIFETIMES)
                    .unwrap()
                    .is_some()
            );
        }
        env.clock.advance(Duration::from_secs(1_800));
        assert!(
            access
                .find(CredentialKind::Ticket, &key, &LIFETIMES)
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn record_with_another_secret_is_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = Key::of_test(1);
    begin(&access, CredentialKind::Ticket, &key);
    let host = access.tiers.host.as_ref().unwrap();
    let now = env.clock.now();
    let origin = access.origin("CASPT", "imap://m").unwrap();
    let forged = Session::new(alice(), now, Validity::UNLIMITED, origin.since).encode(&origin);
    let sealed = Secret::new(&[9; 32]).sealed(&key, forged);
    host.update(Table::Tickets, &key, now, &mut |_| {
        Change::Put(sealed.clone())
    })
    .unwrap();
    assert!(
        access
            .find(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .is_none()
    );
}

#[test]
fn without_a_state_directory_sessions_stay_in_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(&directory.path().join("missing").join("state"));
    for _ in 0..2 {
        let access = env.open();
        let key = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
        begin(&access, CredentialKind::Ticket, &key);
        assert_eq!(
            access
                .find(CredentialKind::Ticket, &key, &LIFETIMES)
                .unwrap(),
            Some((alice(), Source::Memory))
        );
        let claim = access.try_lock(&key);
        assert!(claim.is_some());
        assert!(access.try_lock(&key).is_none());
        drop(claim);
        assert!(access.try_lock(&key).is_some());
    }
    let lines = env.log.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].0, Level::Error);
    assert!(lines[0].1.contains("make it"), "{}", lines[0].1);
}

#[test]
fn process_returns_to_the_host_tier() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::write(&state, "in the way").unwrap();
    let env = cache_env(&state);
    let key = |access: &SessionCacheHandle<'_>| {
        access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1")
    };
    let access = env.open();
    begin(&access, CredentialKind::Ticket, &key(&access));
    std::fs::remove_file(&state).unwrap();
    let found = |access: &SessionCacheHandle<'_>| {
        access
            .find(CredentialKind::Ticket, &key(access), &LIFETIMES)
            .unwrap()
            .map(|found| found.1)
    };
    assert_eq!(found(&env.open()), Some(Source::Memory));
    env.clock.advance(RETRY_INTERVAL);
    let access = env.open();
    assert_eq!(found(&access), None);
    begin(&access, CredentialKind::Ticket, &key(&access));
    assert_eq!(found(&env.open()), Some(Source::Host));
    assert_eq!(env.log.lines().len(), 1);
}

#[test]
fn removed_cache_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let env = cache_env(&state);
    let begun = |number: u32| {
        let access = env.open();
        let key = access.key(
            CredentialKind::Ticket,
            "imap://m",
            &POLICY,
            &format!("PT-{number}"),
        );
        drop(access.try_lock(&key));
        begin(&access, CredentialKind::Ticket, &key);
        access
            .find(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .map(|found| found.1)
    };
    assert_eq!(begun(1), Some(Source::Host));
    std::fs::remove_dir_all(&state).unwrap();
    // The next login creates the cache again.
    assert_eq!(begun(2), Some(Source::Host));
    // A login in progress knows neither the sessions nor the flushes.
    let under_way = env.open();
    std::fs::remove_dir_all(&state).unwrap();
    let key = under_way.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-3");
    let unreadable = Some(Reason::SessionsUnreadable);
    let reason = |failure: Failure| failure.reason();
    let origin = under_way.origin("CASPT", "imap://m");
    assert_eq!(origin.err().map(reason), unreadable);
    let found = under_way.find(CredentialKind::Ticket, &key, &LIFETIMES);
    assert_eq!(found.err().map(reason), unreadable);
    assert!(env.sessions.is_outdated());
    drop(under_way);
    assert_eq!(begun(4), Some(Source::Host));
    let access = env.open();
    let first = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
    assert_eq!(
        access
            .find(CredentialKind::Ticket, &first, &LIFETIMES)
            .unwrap(),
        None
    );
    assert!(env.log.lines()[0].1.contains("was removed, replaced"));
}

#[test]
fn cache_that_cannot_be_reopened_is_logged_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let env = cache_env(&state);
    let use_it = || {
        let access = env.open();
        drop(access.try_lock(&access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1")));
    };
    use_it();
    std::fs::rename(&state, directory.path().join("aside")).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    for _ in 0..5 {
        use_it();
        env.clock.advance(RETRY_INTERVAL);
    }
    let lines = env.log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].1.contains("was removed, replaced"), "{lines:?}");
    assert!(lines[1].1.contains("remove it"), "{lines:?}");
}

#[test]
fn full_cache_is_logged_and_affects_no_user() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let host = LmdbBackend::open_with_room(directory.path(), 1_000_000, 256 * 1024).unwrap();
    env.sessions.opened.lock().tiers = Some(Arc::new(Tiers {
        secret: Secret::new(host.secret()),
        host: Some(host),
        memory: MemoryBackend::new(1_000),
        fell_back: AtomicBool::new(false),
    }));
    let access = env.open();
    let keys: Vec<Key> = (0..1_500)
        .map(|number| {
            access.key(
                CredentialKind::Ticket,
                "imap://m",
                &POLICY,
                &format!("PT-{number}"),
            )
        })
        .collect();
    for key in &keys {
        begin(&access, CredentialKind::Ticket, key);
    }
    let from = |source| {
        let found = keys.iter().filter_map(|key| {
            access
                .find(CredentialKind::Ticket, key, &LIFETIMES)
                .unwrap()
        });
        found.filter(|(_, found)| *found == source).count()
    };
    assert!(from(Source::Host) > 100 && from(Source::Memory) > 100);
    assert_eq!(from(Source::Host) + from(Source::Memory), keys.len());
    let lines = env.log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].1.contains("raise sso_sessions"), "{}", lines[0].1);
}

#[test]
fn negative_cache_holds_definite_refusals_for_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = Key::of_test(1);
    access.insert_negative(
        CredentialKind::Ticket,
        &key,
        &Failure::new(Reason::ServerTimeout, "late"),
    );
    assert_eq!(access.negative(&key).unwrap(), None);
    let failure = Failure::new(Reason::TicketRefused, "CAS says INVALID_TICKET: no");
    access.insert_negative(CredentialKind::Ticket, &key, &failure);
    assert_eq!(
        access.negative(&key).unwrap(),
        Some((failure, Source::Host))
    );
    env.clock.advance(Duration::from_secs(30));
    assert_eq!(access.negative(&key).unwrap(), None);
}

#[test]
fn circuit_breaker_and_rate_limit_are_shared_by_the_processes_of_a_host() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, others) = (cache_env(directory.path()), cache_env(directory.path()));
    let requester = Requester::new(Some("192.0.2.1"), Channel::Caspt, Some("alice"));
    let timeout = Duration::from_secs(5);
    {
        let access = ours.open();
        let breaker = access.breaker("https://cas");
        let limits = access.rate_limits(&requester, 5, &breaker);
        for _ in 0..5 {
            access.settle(&limits, Admission::TRUSTED, Some(Charge::Refused));
        }
        for _ in 0..3 {
            access.record_outcome(&breaker, access.now(), Outcome::TimedOut);
        }
        assert_eq!(
            access.permission(&breaker, timeout).unwrap(),
            Permission::Trial
        );
        access.end_trial(&breaker, Some(false));
    }
    // A process opens the cache once: the other one does after this one has closed it.
    drop(ours.sessions);
    let access = others.open();
    let breaker = access.breaker("https://cas");
    assert_eq!(
        access.permission(&breaker, timeout).unwrap(),
        Permission::Denied
    );
    let other = access.breaker("https://other");
    assert_eq!(
        access.permission(&other, timeout).unwrap(),
        Permission::Granted
    );
    let limits = access.rate_limits(&requester, 5, &breaker);
    let failure = access.check_rate(&limits).unwrap_err();
    assert_eq!(failure.reason(), Reason::BudgetSpent);
    // CAS answers again.
    access.record_outcome(&breaker, access.now(), Outcome::Answered);
    assert_eq!(
        access.permission(&breaker, timeout).unwrap(),
        Permission::Granted
    );
    access.refund(&limits, Admission::TRUSTED, Claimed::Own);
    assert!(access.check_rate(&limits).is_ok());
}

#[test]
fn nothing_of_a_credential_is_in_the_state_directory() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let credential = "PT-1234-this-must-not-be-found";
    let key = access.key(CredentialKind::Ticket, "imap://m", &POLICY, credential);
    begin(&access, CredentialKind::Ticket, &key);
    access.insert_negative(
        CredentialKind::Ticket,
        &key,
        &Failure::new(Reason::TicketRefused, "no"),
    );
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes
            .windows(12)
            .any(|w| w == &credential.as_bytes()[8..20]);
        assert!(!found);
    }
}

#[test]
fn tokens_evict_no_tickets() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let ticket = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
    begin(&access, CredentialKind::Ticket, &ticket);
    for number in 0..200 {
        let key = access.key(CredentialKind::Token, "", &POLICY, &number.to_string());
        begin(&access, CredentialKind::Token, &key);
    }
    assert!(
        access
            .find(CredentialKind::Ticket, &ticket, &LIFETIMES)
            .unwrap()
            .is_some()
    );
}

#[test]
fn used_session_continues_while_the_cache_takes_no_writes() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
    begin(&access, CredentialKind::Ticket, &key);
    let locks = Locks::new(directory.path().join("locks"));
    let held = locks.try_lock(What::Writing).unwrap().unwrap();
    for _ in 0..4 {
        env.clock.advance(Duration::from_secs(1_500));
        assert!(
            access
                .find(CredentialKind::Ticket, &key, &LIFETIMES)
                .unwrap()
                .is_some()
        );
    }
    drop(held);
    // The entry is written to the host tier again.
    begin(&access, CredentialKind::Ticket, &key);
    let found = access
        .find(CredentialKind::Ticket, &key, &LIFETIMES)
        .unwrap();
    assert_eq!(found, Some((alice(), Source::Host)));
}

#[test]
fn fallback_to_memory_hides_no_live_session() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, others) = (cache_env(directory.path()), cache_env(directory.path()));
    let access = ours.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &POLICY, "PT-1");
    let failure = Failure::new(Reason::TicketRefused, "no");
    let locks = Locks::new(directory.path().join("locks"));
    let held = locks.try_lock(What::Writing).unwrap();
    access.insert_negative(CredentialKind::Ticket, &key, &failure);
    assert_eq!(access.negative(&key).unwrap().unwrap().1, Source::Memory);
    drop(held);
    ours.clock.advance(Duration::from_secs(40));
    assert!(access.negative(&key).unwrap().is_none());
    drop(access);
    drop(ours.sessions);
    others.clock.advance(Duration::from_secs(40));
    others
        .open()
        .insert_negative(CredentialKind::Ticket, &key, &failure);
    assert_eq!(
        others.open().negative(&key).unwrap().unwrap().1,
        Source::Host
    );
}
