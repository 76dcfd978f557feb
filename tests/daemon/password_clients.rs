//! Clients that can only send a password, with a ticket of a real CAS or a token in its place, and
//! with an ordinary one, at the same ports.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use test_support::cyrus::Service;
use test_support::daemon::{self, Daemon};
use test_support::mint::SigningKey;
use test_support::password_clients::{PasswordClient as Client, Way};
use test_support::password_site::{IMAP, ONE_SERVICE, PasswordSite, SECRET, TOKEN_HEADER, USERS};
use test_support::wait::{PATIENCE, wait_until};

/// Who logs in, to what, and how.
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

/// By all that takes a client of a service to ask the password of one login.
fn times_asked(service: Service) -> usize {
    // A calendar has no login: it is every request.
    if service == Service::Http { 2 } else { 1 }
}

#[test]
fn tickets_and_ordinary_passwords_go_by_the_same_ports() {
    let site = PasswordSite::new("ports", &[ONE_SERVICE]);
    assert!(site.login("alice", SECRET), "{}", site.behind.told());
    let ticket = site.portal.proxy_ticket("alice", IMAP);
    let mut asked = 1;
    for by in LOGINS {
        for (password, is_good, is_ordinary) in [
            (ticket.as_str(), true, false),
            (SECRET, true, true),
            ("a-wrong-one", false, true),
            // What looks like a ticket is never tried as a password.
            ("PT-nobody-issued-it", false, false),
        ] {
            let outcome = site.log_in(by, password);
            let told = || {
                let log = site.cyrus.log().tail();
                format!("{by:?} {password}\n{}\n{log}", outcome.transcript)
            };
            assert_eq!(outcome.logged_in, is_good, "{}", told());
            if is_ordinary {
                asked += times_asked(by.1);
            }
        }
    }
    site.behind.assert_asked(asked);
    // About the ticket, and about the one that nobody issued.
    assert_eq!(site.cas.validations(), 2, "{:?}", site.cas.access_log());
    assert!(!site.cyrus.log().contains(&ticket));
}

#[test]
fn without_caspt_service_each_protocol_has_tickets_of_its_own() {
    let site = PasswordSite::new("services", &[]);
    assert!(site.login("alice", SECRET), "{}", site.behind.told());
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
        let ticket = site.portal.proxy_ticket("alice", service);
        for _ in 0..2 {
            let mark = site.cyrus.log().mark();
            let outcome = site.log_in(by, &ticket);
            assert!(outcome.logged_in, "{service}\n{}", outcome.transcript);
            site.logged(
                mark,
                &[
                    "mech=saslauthd",
                    &format!("service={service} "),
                    "=accepted",
                ],
            );
        }
        assert_eq!(site.cas.validations(), count, "{:?}", site.cas.access_log());
    }
    // A ticket for the one is none for the other.
    let mark = site.cyrus.log().mark();
    let ticket = site.portal.proxy_ticket("alice", IMAP);
    assert!(
        !site
            .log_in((Client::Curl, Service::Http, Way::Command), &ticket)
            .logged_in
    );
    site.logged(mark, &["service=http://localhost", "reason=ticket_refused"]);
}

#[test]
fn a_token_of_four_kilobytes_is_a_password_that_the_stock_saslauthd_does_not_take() {
    let site = PasswordSite::new("long", &[]);
    assert!(site.login("alice", SECRET), "{}", site.behind.told());
    let forger = SigningKey::hmac(b"thirty-two bytes of another key.");
    for (id, by) in LOGINS.into_iter().enumerate() {
        if by.0 == Client::CyrusTest {
            continue;
        }
        let token = site.token("alice", id, 2_900);
        assert!(token.len() >= 4_000);
        let mark = site.cyrus.log().mark();
        let outcome = site.log_in(by, &token);
        assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        site.logged(
            mark,
            &["mech=saslauthd", "outcome=accepted", "source=validated"],
        );
        // A forged one is refused, and is nobody's password.
        let forged = forger.token(TOKEN_HEADER, &site.claims("alice", id, 2_900));
        let outcome = site.log_in(by, &forged);
        assert!(!outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        site.logged(mark, &["mech=saslauthd", "reason=signature_wrong"]);
    }
    site.behind.assert_asked(1);

    let token = site.token("alice", 0, 2_900);
    let request = daemon::request(&["alice", &token, "imap", ""]);
    let ours = site.daemon.as_ref().map(Daemon::mux).expect("a daemon");
    assert_eq!(daemon::ask(ours, &request).as_deref(), Some("OK"));
    let stock = daemon::ask(site.behind.mux(), &request).expect("an answer");
    assert!(stock.starts_with("NO"), "{stock}");
    assert!(
        site.behind
            .told()
            .contains("password exceeded MAX_REQ_LEN: 256")
    );
}

/// saslauthd's cache has one place for each user: there they would be asked for again and again.
#[test]
fn portal_webmail_and_mail_program_of_one_user_do_not_evict_each_other() {
    let site = PasswordSite::new("three", &[ONE_SERVICE]);
    let webmail = site.webmail.log_in("alice");
    let (portals, webmails) = (
        site.portal.proxy_ticket("alice", IMAP),
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
            let outcome = site.log_in(by, password);
            assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        }
        asked += times_asked(by.1);
    }
    assert_eq!(site.cas.validations(), 2, "{:?}", site.cas.access_log());
    site.behind.assert_asked(asked);
    // Nor is one user's ticket good for another.
    let by = (Client::Imaplib, Service::Imap, Way::Command);
    let mark = site.cyrus.log().mark();
    assert!(!site.log_in_as(USERS[1], by, &portals).logged_in);
    site.logged(mark, &["reason=user_mismatch"]);
}

/// What clients hear if nobody can decide, and what if they are refused: the table of docs/passwords.md.
const HEARD: [((Client, Service, Way), &str, &str); 6] = [
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
    // pop3d and timsieved tell their clients no difference, whatever checks passwords.
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
fn while_cas_is_down_a_new_ticket_is_not_said_to_be_wrong_and_who_is_in_stays_in() {
    let mut site = PasswordSite::new("down", &[ONE_SERVICE]);
    let known = site.portal.proxy_ticket("alice", IMAP);
    assert!(site.login("alice", &known), "{}", site.cyrus.log().tail());
    let new = site.portal.proxy_ticket("alice", IMAP);
    site.cas.stop();
    for (by, unavailable, refused) in HEARD {
        let hears = |password: &str, what: &str| {
            let outcome = site.log_in(by, password);
            assert!(!outcome.logged_in, "{by:?}");
            assert!(
                outcome.transcript.contains(what),
                "{by:?}\n{}",
                outcome.transcript
            );
        };
        let mark = site.cyrus.log().mark();
        hears(&new, unavailable);
        site.logged(
            mark,
            &["mech=saslauthd", "outcome=unavailable", "reason=server_"],
        );
        hears("a-wrong-one", refused);
        for password in [&known, SECRET] {
            let outcome = site.log_in(by, password);
            assert!(outcome.logged_in, "{by:?}\n{}", outcome.transcript);
        }
    }
    // It is as new as before when CAS is back.
    site.cas.start_again();
    let back = wait_until(PATIENCE, || site.log_in(HEARD[0].0, &new).logged_in);
    assert!(back, "{}", site.cyrus.log().tail());
    // The same is heard if the daemon itself is down.
    site.daemon = None;
    for (by, unavailable, _) in HEARD {
        let outcome = site.log_in(by, SECRET);
        assert!(
            outcome.transcript.contains(unavailable),
            "{by:?}\n{}",
            outcome.transcript
        );
    }
}
