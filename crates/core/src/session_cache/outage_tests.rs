//! Tests that an unreadable session cache is an outage, and not a cache miss.

use std::path::Path;
use std::time::Duration;

use super::lmdb::locked_env::LOCK_TIMEOUT;
use super::tests::{CacheEnv, LIFETIMES, alice, begin, cache_env};
use super::*;
use crate::error::Reason;
use crate::state_dir::boot_file;
use crate::state_dir::lock_file::{Locks, What};
use crate::state_dir::sync_file::{Guard, Lock, SyncFile};

const CLIENT: &str = "192.0.2.1";

/// A cache with the session of a ticket, and its key.
fn site_with_ticket(directory: &Path) -> (CacheEnv, Key) {
    let env = cache_env(directory);
    let access = env.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
    begin(&access, CredentialKind::Ticket, &key);
    drop(access);
    (env, key)
}

/// Calls `what` while another thread holds the lock, as a stopped process would.
fn while_locked(directory: &Path, lock: Lock, what: impl FnOnce()) {
    let file = SyncFile::open(&SyncFile::path(directory).unwrap(), false).unwrap();
    let (locked, done) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _held: Guard<'_> = file.lock(lock, Duration::ZERO).unwrap();
            locked.wait();
            done.wait();
        });
        locked.wait();
        what();
        done.wait();
    });
}

fn reason<T>(result: Result<T, Failure>) -> Option<Reason> {
    result.err().map(|failure| failure.reason())
}

/// The number of reader slots in use: those with a process number in LMDB's lock file, where each
/// has a cache line, after two lines (`MDB_reader` in mdb.c).
fn slots_in_use(directory: &Path) -> usize {
    let name = boot_file::store_name().unwrap() + "-lock";
    let bytes = std::fs::read(directory.join(name)).unwrap();
    let slots = bytes.chunks(64).skip(2);
    slots.filter(|slot| slot[8..12] != [0; 4]).count()
}

#[test]
fn lock_that_is_not_released_is_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    let (env, key) = site_with_ticket(directory.path());
    let access = env.open();
    let unreadable = Some(Reason::SessionsUnreadable);
    while_locked(directory.path(), Lock::Readers, || {
        let known = access.lookup(CredentialKind::Ticket, &key, &LIFETIMES);
        assert_eq!(reason(known), unreadable);
        assert_eq!(reason(access.origin("CASPT", "imap://m")), unreadable);
        let server = access.breaker("cas");
        let requester = Requester::new(Some(CLIENT), Channel::Caspt, None);
        let limits = access.rate_limits(&requester, 5, &server);
        assert_eq!(reason(access.check_rate(&limits)), unreadable);
        let permission = access.permission(&server, Duration::from_secs(1));
        assert_eq!(reason(permission), unreadable);
        let glance = env.sessions.opened(&env.log).unwrap();
        let known = glance.try_lookup(CredentialKind::Ticket, &key, &LIFETIMES);
        assert_eq!(reason(known), unreadable);
    });
    let found = access
        .find(CredentialKind::Ticket, &key, &LIFETIMES)
        .unwrap();
    assert_eq!(found, Some((alice(), Source::Host)));
    // The problem is logged once.
    let lines = env.log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].1.contains("cannot be read"), "{lines:?}");
    assert!(
        lines[0].1.contains("end the one that was stopped"),
        "{lines:?}"
    );
}

#[test]
fn cache_without_a_free_reader_slot_is_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    let (env, key) = site_with_ticket(directory.path());
    let access = env.open();
    let host = access.tiers.host.as_ref().unwrap();
    let mut readers = Vec::new();
    while let Ok(reader) = host.environment().read_txn(LOCK_TIMEOUT) {
        readers.push(reader);
    }
    assert_eq!(slots_in_use(directory.path()), readers.len());
    let known = access.lookup(CredentialKind::Ticket, &key, &LIFETIMES);
    assert_eq!(reason(known), Some(Reason::SessionsUnreadable));
    drop(readers);
    assert!(
        access
            .lookup(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .is_some()
    );
}

#[test]
fn no_slot_is_kept_after_a_read_or_a_write() {
    let directory = tempfile::tempdir().unwrap();
    let (env, key) = site_with_ticket(directory.path());
    for _ in 0..3 {
        env.clock.advance(Duration::from_secs(600));
        let access = env.open();
        assert!(
            access
                .lookup(CredentialKind::Ticket, &key, &LIFETIMES)
                .unwrap()
                .is_some()
        );
        let other = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-2");
        assert!(
            access
                .lookup(CredentialKind::Ticket, &other, &LIFETIMES)
                .unwrap()
                .is_none()
        );
        assert_eq!(slots_in_use(directory.path()), 0);
    }
}

#[test]
fn existing_cache_that_cannot_be_opened_is_an_outage() {
    let directory = tempfile::tempdir().unwrap();
    let (before, key) = site_with_ticket(directory.path());
    drop(before);
    let env = cache_env(directory.path());
    while_locked(directory.path(), Lock::Opening, || {
        for _ in 0..3 {
            let opened = env.sessions.open(&env.log);
            assert_eq!(reason(opened), Some(Reason::SessionsUnreadable));
            // Tokens do without the host tier.
            assert!(!env.sessions.open_without_host(&env.log).unwrap().has_host());
        }
    });
    env.clock.advance(RETRY_INTERVAL_AFTER_WAIT);
    let found = env
        .open()
        .find(CredentialKind::Ticket, &key, &LIFETIMES)
        .unwrap();
    assert_eq!(found, Some((alice(), Source::Host)));
}

#[test]
fn without_file_locks_one_login_of_a_process_validates() {
    let directory = tempfile::tempdir().unwrap();
    let (env, key) = site_with_ticket(directory.path());
    let access = env.open();
    let locks = directory.path().join("locks");
    std::fs::remove_file(&locks).unwrap();
    std::fs::create_dir(&locks).unwrap();
    let claim = access.try_lock_strict(&key).unwrap();
    assert!(claim.is_some());
    assert!(access.try_lock_strict(&key).unwrap().is_none());
    drop(claim);
    assert!(access.try_lock_strict(&key).unwrap().is_some());
    assert_eq!(env.log.lines().len(), 1);
}

#[test]
fn waiter_polls_the_lock_a_limited_number_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let (env, key) = site_with_ticket(directory.path());
    let access = env.open();
    let locks = Locks::new(directory.path().join("locks"));
    let mut looks = 0;
    std::thread::scope(|scope| {
        let claim = access.try_lock_strict(&key).unwrap().unwrap();
        assert!(locks.try_lock(What::Validating(&key)).unwrap().is_none());
        let waiter = scope.spawn(|| {
            let access = env.open();
            let mut looks = 0;
            loop {
                looks += 1;
                let release = access.next_release(&key);
                if access.try_lock_strict(&key).unwrap().is_some() {
                    return looks;
                }
                release.wait(Duration::from_secs(60));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        drop(claim);
        looks = waiter.join().unwrap();
    });
    // One look before the release and one after it, and a margin for spurious wake-ups.
    assert!(looks <= 10, "{looks}");
}

/// One process records something about a server in its memory, because the cache takes no write;
/// then `host` changes the shared record.
fn breaker_of_memory_and_host(
    memory: impl Fn(&SessionCacheHandle<'_>, &Key),
    host: impl Fn(&SessionCacheHandle<'_>, &Key),
    then: impl Fn(&CacheEnv, &SessionCacheHandle<'_>, &Key),
) {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let breaker = access.breaker("https://cas");
    host(&access, &breaker);
    let locks = Locks::new(directory.path().join("locks"));
    let held = locks.try_lock(What::Writing).unwrap().unwrap();
    memory(&access, &breaker);
    drop(held);
    then(&env, &access, &breaker);
}

const OF_TRIAL: Duration = Duration::from_secs(2);

fn open_breaker(access: &SessionCacheHandle<'_>, breaker: &Key) {
    for _ in 0..3 {
        access.record_outcome(breaker, access.now(), Outcome::Unreachable);
    }
    let permission = access.permission(breaker, OF_TRIAL);
    assert_eq!(permission, Ok(Permission::Trial));
    access.end_trial(breaker, Some(false));
    assert!(access.breaker_record(breaker).unwrap().is_down());
}

#[test]
fn open_breaker_in_memory_gives_way_to_the_shared_breaker() {
    let answered = |access: &SessionCacheHandle<'_>, breaker: &Key| {
        access.record_outcome(breaker, access.now(), Outcome::Answered);
    };
    breaker_of_memory_and_host(open_breaker, answered, |env, access, breaker| {
        env.clock.advance(Duration::from_secs(5));
        let permission = access.permission(breaker, OF_TRIAL);
        assert_eq!(permission, Ok(Permission::Granted));
        assert!(!access.breaker_record(breaker).unwrap().is_down());
    });
}

#[test]
fn breaker_in_memory_does_not_hide_a_shared_outage() {
    let answered = |access: &SessionCacheHandle<'_>, breaker: &Key| {
        access.record_outcome(breaker, access.now(), Outcome::Answered);
    };
    breaker_of_memory_and_host(answered, open_breaker, |_, access, breaker| {
        assert_eq!(
            access.permission(breaker, OF_TRIAL),
            Ok(Permission::Granted)
        );
        access.record_outcome(breaker, access.now(), Outcome::TimedOut);
        assert_eq!(access.permission(breaker, OF_TRIAL), Ok(Permission::Denied));
    });
}
