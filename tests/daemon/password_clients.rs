//! Clients that can only send a password: they log in with a ticket of a real CAS, a token, or an
//! ordinary password, all at the same ports.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use test_support::cyrus::Service;
use test_support::daemon::{self, Daemon};
use test_support::mint::SigningKey;
use test_support::password_clients::{PasswordClient as Client, Way};
use test_support::password_site::{IMAP, ONE_SERVICE, PasswordEnv, SECRET, TOKEN_HEADER, USERS};
use test_support::wait::{PATIENCE, wait_until};

/// The client, the service it logs in to, and how it sends the password.
const LOGINS: [(Client, Service, Way); 11] = [
    (Client::Curl, Service::Imap, Way::Plain),
    (Client::Curl, Service::Pop3, Way::Plain),
    (Client::Curl, Service::Http, Way::Command),
    (Client::CyrusTest, Service::Imap, Way::Command),
    (Client::CyrusTest, Service::Pop3, Way::Command),
    (Client::CyrusTest, Service::Sieve, Way::Plain),
    (Client::Imaplib, Service::Imap, Way::Command),
    (Client::Imaplib, Service::Imap, Way::Plain),
    (Client::Poplib, Service::Pop3, Way::Command),
    (Client::Poplib, Service::Pop3, Way::Plain),
    (Client::Sieve, Service::Sieve, Way::Plain),
];

/// How often one login through this service has its password checked.
fn checks_per_login(service: Service) -> usize {
    // HTTP has no login: the password is checked with each of the client's two requests.
    if service == Service::Http { 2 } else { 1 }
}

#[test]
fn tickets_and_ordinary_passwords_work_at_the_same_ports() {
    let env = PasswordEnv::new("ports", &[ONE_SERVICE]);
    assert!(env.login("alice", SECRET), "{}", env.fallback.output());
    let ticket = env.portal.proxy_ticket("alice", IMAP);
    let mut asked = 1;
    for by in LOGINS {
        for (password, is_good, is_ordinary) in [
            (ticket.as_str(), true, false),
            (SECRET, true, true),
            ("a-wrong-one", false, true),
            // A password that looks like a ticket is never forwarded to saslauthd.
            ("PT-nobody-issued-it", false, false),
        ] {
            let outcome = env.log_in(by, password);
            let context = || {
                let log = env.cyrus.log().tail();
                format!("{by:?} {password}\n{}\n{log}", outcome.transcript)
            };
            assert_eq!(outcome.logged_in, is_good, "{}", context());
            if is_ordinary {
                asked += checks_per_login(by.1);
            }
        }
    }
    env.fallback.assert_asked(asked);
    // Once about the ticket, and once about the forged one.
    assert_eq!(env.cas.validations(), 2, "{:?}", env.cas.access_log());
    assert!(!env.cyrus.log().contains(&ticket));
}

#[test]
fn without_caspt_service_each_protocol_needs_its_own_tickets() {
    let env = PasswordEnv::new("services", &[]);
    assert!(env.login("alice", SECRET), "{}", env.fallback.output());
    let services = [
        ((Client::Imaplib, Service::Imap, Way::Command), IMAP),
        (
            (Client::Poplib, Service::Pop3, Way::Command),
            "pop://localhost",
        ),
        (
            (Client::Sieve, Service::Sieve, Way::Plain),
            "sieve://localhost",
        ),
        (
            (Client::Curl, Service::Http, Way::Command),
            "http://localhost",
        ),
    ];
    for (count, (by, service)) in (1..).zip(services) {
        let ticket = env.portal.proxy_ticket("alice", service);
        for _ in 0..2 {
            let mark = env.cyrus.log().mark();
            let outcome = env.log_in(by, &ticket);
            assert!(outcome.logged_in, "{service}\n{}", outcome.transcript);
            env.logged(
                mark,
                &[
                    "mech=saslauthd",
                    &format!("service={service} "),
                    "=accepted",
                ],
            );
        }
        assert_eq!(env.cas.validations(), count, "{:?}", env.cas.access_log());
    }
    // A ticket for one service is rejected by another.
    let mark = env.cyrus.log().mark();
    let ticket = env.portal.proxy_ticket("alice", IMAP);
    assert!(
        !env.log_in((Client::Curl, Service::Http, Way::Command), &ticket)
            .logged_in
    );
    env.logged(mark, &["service=http://localhost", "reason=ticket_refused"]);
}

#[test]
fn four_kilobyte_token_is_accepted_although_stock_saslauthd_rejects_its_length() {
    let env = PasswordEnv::new("long", &[]);
    assert!(env.login("alice", SECRET), "{}", env.fallback.output());
    let forger = SigningKey::hmac(b"thirty-two bytes of another key.");
    for (id, by) in LOGINS.into_iter().enumerate() {
        if by.0 == Client::CyrusTest {
            continue;
        }
        let token = env.token("alice", id, 2_900);
        assert!(token.len() >= 4_000);
        let mark = env.cyrus.log().mark();
        let outcome = env.log_in(by, &token);
        assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        env.logged(
            mark,
            &["mech=saslauthd", "outcome=accepted", "source=validated"],
        );
        // A forged token is rejected, and is not forwarded to saslauthd as a password.
        let forged = forger.token(TOKEN_HEADER, &env.claims("alice", id, 2_900));
        let outcome = env.log_in(by, &forged);
        assert!(!outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        env.logged(mark, &["mech=saslauthd", "reason=signature_wrong"]);
    }
    env.fallback.assert_asked(1);

    let token = env.token("alice", 0, 2_900);
    let request = daemon::request(&["alice", &token, "imap", ""]);
    let ours = env.daemon.as_ref().map(Daemon::mux).expect("a daemon");
    assert_eq!(daemon::ask(ours, &request).as_deref(), Some("OK"));
    let stock = daemon::ask(env.fallback.mux(), &request).expect("an answer");
    assert!(stock.starts_with("NO"), "{stock}");
    assert!(
        env.fallback
            .output()
            .contains("password exceeded MAX_REQ_LEN: 256")
    );
}

/// saslauthd's cache has one entry per user, so these credentials would evict each other there.
#[test]
fn portal_webmail_and_mail_program_of_one_user_do_not_evict_each_other() {
    let env = PasswordEnv::new("three", &[ONE_SERVICE]);
    let webmail = env.webmail.log_in("alice");
    let (portals, webmails) = (
        env.portal.proxy_ticket("alice", IMAP),
        webmail.fetch_ticket(IMAP),
    );
    let rounds = [
        (Client::Imaplib, Service::Imap, Way::Command),
        (Client::Curl, Service::Http, Way::Command),
        (Client::Poplib, Service::Pop3, Way::Plain),
        (Client::Imaplib, Service::Imap, Way::Plain),
        (Client::Sieve, Service::Sieve, Way::Plain),
    ];
    let mut asked = 0;
    for by in rounds {
        for password in [&portals, SECRET, &webmails, &portals] {
            let outcome = env.log_in(by, password);
            assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        }
        asked += checks_per_login(by.1);
    }
    assert_eq!(env.cas.validations(), 2, "{:?}", env.cas.access_log());
    env.fallback.assert_asked(asked);
    // A ticket of one user is rejected for another.
    let by = (Client::Imaplib, Service::Imap, Way::Command);
    let mark = env.cyrus.log().mark();
    assert!(!env.log_in_as(USERS[1], by, &portals).logged_in);
    env.logged(mark, &["reason=user_mismatch"]);
}

/// The answers that clients get during an outage and after a refusal: the table of
/// docs/passwords.md.
const ANSWERS: [((Client, Service, Way), &str, &str); 6] = [
    (
        (Client::Imaplib, Service::Imap, Way::Command),
        "Login failed: generic failure",
        "Login failed: authentication failure",
    ),
    (
        (Client::Imaplib, Service::Imap, Way::Plain),
        "error: generic failure",
        "error: authentication failure",
    ),
    (
        (Client::Poplib, Service::Pop3, Way::Plain),
        "-ERR [AUTH] authenticating: generic failure",
        "-ERR [AUTH] authenticating: authentication failure",
    ),
    // pop3d and timsieved give the same answer for an outage and for a refusal.
    (
        (Client::Poplib, Service::Pop3, Way::Command),
        "-ERR [AUTH] Invalid login",
        "-ERR [AUTH] Invalid login",
    ),
    (
        (Client::Sieve, Service::Sieve, Way::Plain),
        "NO \"Authentication Error\"",
        "NO \"Authentication Error\"",
    ),
    (
        (Client::Curl, Service::Http, Way::Command),
        "HTTP/1.1 500 ",
        "HTTP/1.1 401 ",
    ),
];

#[test]
fn while_cas_is_down_a_new_ticket_is_an_outage_and_a_cached_one_is_accepted() {
    let mut env = PasswordEnv::new("down", &[ONE_SERVICE]);
    let cached = env.portal.proxy_ticket("alice", IMAP);
    assert!(env.login("alice", &cached), "{}", env.cyrus.log().tail());
    let new = env.portal.proxy_ticket("alice", IMAP);
    env.cas.stop();
    for (by, unavailable, refused) in ANSWERS {
        let gets = |password: &str, what: &str| {
            let outcome = env.log_in(by, password);
            assert!(!outcome.logged_in, "{by:?}");
            assert!(
                outcome.transcript.contains(what),
                "{by:?}\n{}",
                outcome.transcript
            );
        };
        let mark = env.cyrus.log().mark();
        gets(&new, unavailable);
        env.logged(
            mark,
            &["mech=saslauthd", "outcome=unavailable", "reason=server_"],
        );
        gets("a-wrong-one", refused);
        for password in [&cached, SECRET] {
            let outcome = env.log_in(by, password);
            assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        }
    }
    // The ticket was not used up by the outage, so it is accepted when CAS is back.
    env.cas.start_again();
    let back = wait_until(PATIENCE, || env.log_in(ANSWERS[0].0, &new).logged_in);
    assert!(back, "{}", env.cyrus.log().tail());
    // Clients get the same answer while the daemon itself is down.
    env.daemon = None;
    for (by, unavailable, _) in ANSWERS {
        let outcome = env.log_in(by, SECRET);
        assert!(
            outcome.transcript.contains(unavailable),
            "{by:?}\n{}",
            outcome.transcript
        );
    }
}
