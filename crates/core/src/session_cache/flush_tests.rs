//! Tests that flushed sessions do not return.

use super::tests::{CacheEnv, LIFETIMES, alice, begin, cache_env};
use super::*;
use crate::policy::user_mapping::SessionUser;
use crate::state_dir::lock_file::{Locks, What};

impl CacheEnv {
    /// Flushes from another process.
    fn flush(&self, selector: &Selector) -> Flushed {
        let access = self.open();
        let host = access.tiers.host.as_ref().unwrap().of_another_process();
        let is_meant = |listed: &Listed| selector.may_concern(&listed.key, &["alice"]);
        Store::new(host).flush(selector, is_meant).unwrap()
    }

    fn source(&self, kind: CredentialKind, key: &Key) -> Option<Source> {
        let known = self.open().lookup(kind, key, &LIFETIMES).unwrap()?;
        Some(known.1)
    }
}

/// Holds the lock for writing.
fn block_writers(env: &CacheEnv) -> impl Sized {
    let locks = Locks::new(env.sessions.config().state_dir.join("locks"));
    locks.try_lock(What::Writing).unwrap().unwrap()
}

#[test]
fn flush_ends_the_selected_sessions_only() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let keys: Vec<Key> = (1..=50).map(|number| Key::of_test(number << 24)).collect();
    for key in &keys {
        begin(&env.open(), CredentialKind::Ticket, key);
        begin(&env.open(), CredentialKind::Token, key);
    }
    let flushed = env.flush(&Selector::Digest(keys[0].to_string()));
    assert_eq!((flushed.tickets, flushed.tokens), (1, 1));
    assert_eq!(env.source(CredentialKind::Ticket, &keys[0]), None);
    assert_eq!(
        env.source(CredentialKind::Token, &keys[1]),
        Some(Source::Host)
    );
    let flushed = env.flush(&Selector::All);
    assert_eq!((flushed.tickets, flushed.tokens), (49, 49));
    assert_eq!(env.flush(&Selector::All), Flushed::default());
    // A later validation opens a new session.
    begin(&env.open(), CredentialKind::Ticket, &keys[0]);
    assert_eq!(
        env.source(CredentialKind::Ticket, &keys[0]),
        Some(Source::Host)
    );
}

#[test]
fn validation_that_began_before_a_flush_opens_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let of = |name: &str| Selector::User(name.to_owned());
    let key = Key::of_test(1);
    for kind in [CredentialKind::Ticket, CredentialKind::Token] {
        let origin = access.origin("CASPT", "imap://m").unwrap();
        env.flush(&of("alice@univ.fr"));
        access.insert_session(
            kind,
            &key,
            &alice(),
            Validity::UNLIMITED,
            &LIFETIMES,
            &origin,
        );
        assert_eq!(env.source(kind, &key), None);
        // The flush of another user does not matter.
        let origin = access.origin("CASPT", "imap://m").unwrap();
        env.flush(&of("bob"));
        access.insert_session(
            kind,
            &key,
            &alice(),
            Validity::UNLIMITED,
            &LIFETIMES,
            &origin,
        );
        assert_eq!(env.source(kind, &key), Some(Source::Host));
    }
}

#[test]
fn too_many_flushes_become_one_of_all_sessions() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = Key::of_test(1);
    let before = access.origin("CASPT", "imap://m").unwrap();
    for _ in 0..=1_000 {
        env.flush(&Selector::User("bob".to_owned()));
    }
    access.insert_session(
        CredentialKind::Ticket,
        &key,
        &alice(),
        Validity::UNLIMITED,
        &LIFETIMES,
        &before,
    );
    assert_eq!(env.source(CredentialKind::Ticket, &key), None);
    let after = access.origin("CASPT", "imap://m").unwrap();
    access.insert_session(
        CredentialKind::Ticket,
        &key,
        &alice(),
        Validity::UNLIMITED,
        &LIFETIMES,
        &after,
    );
    assert_eq!(env.source(CredentialKind::Ticket, &key), Some(Source::Host));
}

#[test]
fn session_in_process_memory_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let (ours, bobs) = (Key::of_test(1), Key::of_test(2));
    let access = env.open();
    let bob = SessionUser::of_test("bob");
    let origin = access.origin("CASPT", "imap://m").unwrap();
    let nobody = block_writers(&env);
    begin(&access, CredentialKind::Ticket, &ours);
    access.insert_session(
        CredentialKind::Ticket,
        &bobs,
        &bob,
        Validity::UNLIMITED,
        &LIFETIMES,
        &origin,
    );
    assert_eq!(
        env.source(CredentialKind::Ticket, &ours),
        Some(Source::Memory)
    );
    drop(nobody);
    env.flush(&Selector::User("alice".to_owned()));
    assert_eq!(env.source(CredentialKind::Ticket, &ours), None);
    assert_eq!(
        env.source(CredentialKind::Ticket, &bobs),
        Some(Source::Memory)
    );
}

#[test]
fn recorded_use_does_not_restore_a_flushed_session() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = Key::of_test(1);
    begin(&access, CredentialKind::Ticket, &key);
    let (_, is_stale) = {
        env.clock.advance(Duration::from_secs(600));
        access
            .try_lookup(CredentialKind::Ticket, &key, &LIFETIMES)
            .unwrap()
            .unwrap()
    };
    assert!(is_stale);
    env.flush(&Selector::All);
    access.record_use(CredentialKind::Ticket, &key, &LIFETIMES);
    assert_eq!(env.source(CredentialKind::Ticket, &key), None);
    // The same holds where the cache takes no writes and the use is recorded in memory.
    begin(&access, CredentialKind::Ticket, &key);
    env.clock.advance(Duration::from_secs(600));
    let nobody = block_writers(&env);
    assert_eq!(env.source(CredentialKind::Ticket, &key), Some(Source::Host));
    assert_eq!(
        env.source(CredentialKind::Ticket, &key),
        Some(Source::Memory)
    );
    drop(nobody);
    env.flush(&Selector::All);
    assert_eq!(env.source(CredentialKind::Ticket, &key), None);
}

#[test]
fn process_leaves_a_removed_cache_before_it_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let env = cache_env(&state);
    let key = env
        .open()
        .key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
    begin(&env.open(), CredentialKind::Ticket, &key);
    std::fs::remove_dir_all(&state).unwrap();
    env.clock.advance(REPLACEMENT_CHECK_INTERVAL);
    assert!(env.sessions.opened(&env.log).is_none());
    assert_eq!(env.source(CredentialKind::Ticket, &key), None);
    assert!(state.exists());
}

#[test]
fn listed_sessions_match_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    let access = env.open();
    let key = access.key(CredentialKind::Ticket, "imap://m", &[0; 32], "PT-1");
    begin(&access, CredentialKind::Ticket, &key);
    env.clock.advance(Duration::from_secs(1_800));
    let host = access.tiers.host.as_ref().unwrap().of_another_process();
    let store = Store::new(host);
    let listed = &store.sessions(Some).unwrap()[..];
    let [listed] = listed else {
        panic!("{listed:?}")
    };
    assert_eq!(listed.key.to_string(), key.to_string());
    assert_eq!(listed.user, alice());
    assert_eq!(
        (&*listed.mechanism, &*listed.service),
        ("CASPT", "imap://m")
    );
    let left = |lifetimes| listed.left(access.now(), access.wall(), lifetimes);
    assert_eq!(left(&LIFETIMES), Some(Duration::from_secs(1_800)));
    env.clock.advance(Duration::from_secs(1_800));
    assert_eq!(left(&LIFETIMES), None);
    let usage = store.usage().unwrap();
    assert_eq!(usage.records[0], ("tickets", 1, 100));
    assert!(usage.used > 0 && usage.used < usage.room);
}

#[test]
fn logins_and_evictions_are_counted_in_shared_counters() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (cache_env(directory.path()), cache_env(directory.path()));
    for env in [&one, &other] {
        let ticket = Some(CredentialKind::Ticket);
        env.sessions.count(ticket, Decider::Host, None, &env.log);
        let refused = Some(Reason::MessageMalformed);
        env.sessions.count(None, Decider::Nobody, refused, &env.log);
    }
    let access = one.open();
    for number in 0..103 {
        begin(&access, CredentialKind::Ticket, &Key::of_test(number));
    }
    let counters = Counters::open(directory.path()).unwrap();
    assert_eq!(
        counters.logins(Some(CredentialKind::Ticket), Decider::Host, None),
        2
    );
    let malformed = counters.logins(None, Decider::Nobody, Some(Reason::MessageMalformed));
    assert_eq!(malformed, 2);
    assert_eq!(counters.evicted(), 3);
    // The eviction of a session that has ended is not counted.
    one.clock.advance(LIFETIMES.idle);
    for number in 200..300 {
        begin(&access, CredentialKind::Ticket, &Key::of_test(number));
    }
    assert_eq!(counters.evicted(), 3);
    begin(&access, CredentialKind::Ticket, &Key::of_test(300));
    assert_eq!(counters.evicted(), 4);
    assert!(one.log.lines().is_empty());
}

#[test]
fn login_that_cannot_be_counted_is_logged_once_and_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let env = cache_env(directory.path());
    drop(Counters::open_or_create(directory.path()).unwrap());
    let counters = std::fs::read_dir(directory.path()).unwrap().next();
    let counters = counters.unwrap().unwrap().path();
    std::fs::remove_file(&counters).unwrap();
    std::fs::create_dir(&counters).unwrap();
    for _ in 0..2 {
        begin(&env.open(), CredentialKind::Ticket, &Key::of_test(1));
        env.sessions
            .count(Some(CredentialKind::Ticket), Decider::Host, None, &env.log);
    }
    let lines = env.log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].1.contains("are not counted"), "{}", lines[0].1);
}
