//! PHP webmails need no change: phpCAS obtains a ticket, and c-client sends it as a password, by
//! whatever mechanism the server offers.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use test_support::cyrus::Service;
use test_support::password_site::{IMAP, ONE_SERVICE, PasswordEnv, SECRET};
use test_support::php_webmail::{Mailbox, Opened};
use test_support::wait::{PATIENCE, wait_until};

const SERVICES: [Service; 3] = [Service::Imap, Service::Imaps, Service::Pop3];

/// Number of times that c-client tries a login.
const LOGIN_ATTEMPTS: usize = 3;

#[test]
fn plain_ticket_is_accepted_in_the_process() {
    // Ordinary passwords are in the sasldb of Cyrus.
    let env = PasswordEnv::without_daemon("php", &[ONE_SERVICE, ("sasl_sso_plain", "yes")]);
    check_mailboxes_open(&env, "PLAIN", "mech=PLAIN");
}

#[test]
fn plain_ticket_is_accepted_by_the_daemon() {
    let env = PasswordEnv::new("php", &[ONE_SERVICE, ("sasl_mech_list", "PLAIN")]);
    check_mailboxes_open(&env, "PLAIN", "mech=saslauthd");
}

#[test]
fn ticket_by_login_or_pass_is_accepted_by_the_daemon() {
    let env = PasswordEnv::new("php", &[ONE_SERVICE, ("sasl_mech_list", "CASPT")]);
    check_mailboxes_open(&env, "plaintext", "mech=saslauthd");
}

/// Opens mailboxes with a ticket. `login` is the name of the login method in the log of Cyrus, and
/// `mech` the one in the log of the plugin or the daemon.
fn check_mailboxes_open(env: &PasswordEnv, login: &str, mech: &str) {
    let alice = env.webmail.log_in("alice");
    let context = |opened: &Opened| format!("{opened:?}\n{}", env.cyrus.log().tail());
    let assert_validations =
        |times: usize| assert_eq!(env.cas.validations(), times, "{:?}", env.cas.access_log());
    let count_log_lines = |words: &str| {
        let lines = env.cyrus.log().lines();
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
        let mark = env.cyrus.log().mark();
        let opened = alice.open(&Mailbox::of(&env.cyrus, service));
        assert!(opened.opened, "{}", context(&opened));
        assert_eq!(opened.messages, Some(0), "{}", context(&opened));
        env.logged(mark, &[&format!(" alice {login}"), "User logged in"]);
    }
    assert_validations(1);
    let imap = Mailbox::of(&env.cyrus, Service::Imap);
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
        let opened = alice.open(&Mailbox::of(&env.cyrus, service));
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
    env.fallback.assert_asked(0);
    if env.daemon.is_some() {
        assert!(env.login("alice", SECRET));
        env.fallback.assert_asked(1);
    }
}
