//! PHP webmails need no change: phpCAS obtains a ticket, and c-client sends it as a password, by
//! whatever mechanism the server offers.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use test_support::cyrus::Service;
use test_support::password_site::{IMAP, ONE_SERVICE, PasswordSite, SECRET};
use test_support::php_webmail::{Mailbox, Opened};
use test_support::wait::{PATIENCE, wait_until};

const SERVICES: [Service; 3] = [Service::Imap, Service::Imaps, Service::Pop3];

/// Number of times that c-client tries a login.
const LOGIN_ATTEMPTS: usize = 3;

#[test]
fn plain_ticket_is_accepted_in_the_process() {
    // Ordinary passwords are in the sasldb of Cyrus.
    let site = PasswordSite::without_daemon("php", &[ONE_SERVICE, ("sasl_sso_plain", "yes")]);
    check_mailboxes_open(&site, "PLAIN", "mech=PLAIN");
}

#[test]
fn plain_ticket_is_accepted_by_the_daemon() {
    let site = PasswordSite::new("php", &[ONE_SERVICE, ("sasl_mech_list", "PLAIN")]);
    check_mailboxes_open(&site, "PLAIN", "mech=saslauthd");
}

#[test]
fn ticket_by_login_or_pass_is_accepted_by_the_daemon() {
    let site = PasswordSite::new("php", &[ONE_SERVICE, ("sasl_mech_list", "CASPT")]);
    check_mailboxes_open(&site, "plaintext", "mech=saslauthd");
}

/// Opens mailboxes with a ticket. `login` is the name of the login method in the log of Cyrus, and
/// `mech` the one in the log of the plugin or the daemon.
fn check_mailboxes_open(site: &PasswordSite, login: &str, mech: &str) {
    let alice = site.webmail.log_in("alice");
    let context = |opened: &Opened| format!("{opened:?}\n{}", site.cyrus.log().tail());
    let assert_validations =
        |times: usize| assert_eq!(site.cas.validations(), times, "{:?}", site.cas.access_log());
    let count_log_lines = |words: &str| {
        let lines = site.cyrus.log().lines();
        let plugin_lines = lines
            .iter()
            .filter(|line| line.text.contains(&format!("sso: {mech} ")));
        plugin_lines
            .filter(|line| line.text.contains(words))
            .count()
    };

    alice.fetch_ticket(IMAP);
    // A webmail connects for every page.
    for service in [SERVICES, SERVICES].concat() {
        let mark = site.cyrus.log().mark();
        let opened = alice.open(&Mailbox::of(&site.cyrus, service));
        assert!(opened.opened, "{}", context(&opened));
        assert_eq!(opened.messages, Some(0), "{}", context(&opened));
        site.logged(mark, &[&format!(" alice {login}"), "User logged in"]);
    }
    assert_validations(1);
    let imap = Mailbox::of(&site.cyrus, Service::Imap);
    let opened = alice.service_mail(IMAP, &imap);
    assert!(opened.opened, "{}", context(&opened));
    assert_validations(2);
    // The ticket is not valid for another user.
    let other = Mailbox {
        user: Some("bert"),
        ..imap
    };
    assert!(!alice.open(&other).opened);
    // The daemon writes its log lines asynchronously.
    let all_logged = || count_log_lines("reason=user_mismatch") >= LOGIN_ATTEMPTS;
    assert!(wait_until(PATIENCE, all_logged));
    assert_validations(2);

    let before = count_log_lines("outcome=refused");
    alice.spoil_ticket();
    for (turn, service) in (1..).zip(SERVICES) {
        let opened = alice.open(&Mailbox::of(&site.cyrus, service));
        assert!(!opened.opened, "{}", context(&opened));
        let tried = || count_log_lines("reason=ticket_refused") >= LOGIN_ATTEMPTS * turn;
        assert!(wait_until(PATIENCE, tried), "{}", context(&opened));
    }
    // CAS was asked once about the spoilt ticket, and the fallback for ordinary passwords never.
    assert_eq!(
        count_log_lines("outcome=refused"),
        before + LOGIN_ATTEMPTS * SERVICES.len()
    );
    assert_validations(3);
    site.behind.assert_asked(0);
    if site.daemon.is_some() {
        assert!(site.login("alice", SECRET));
        site.behind.assert_asked(1);
    }
}
