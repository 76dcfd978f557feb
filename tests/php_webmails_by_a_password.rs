//! Webmails in PHP change nothing: phpCAS gets a ticket, and c-client brings it as a password, by
//! whatever the server offers.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;
mod password_site;

use harness::cyrus::Service;
use harness::php_webmail::{Mailbox, Opened};
use harness::wait::{PATIENCE, wait_until};
use password_site::{IMAP, ONE_SERVICE, PasswordSite, SECRET};

const SERVICES: [Service; 3] = [Service::Imap, Service::Imaps, Service::Pop3];

/// How often c-client tries a login.
const TRIES: usize = 3;

#[test]
fn by_plain_in_the_process_without_a_daemon() {
    // The passwords of the others are in Cyrus' own sasldb.
    let site = PasswordSite::without_daemon("php", &[ONE_SERVICE, ("sasl_sso_plain", "yes")]);
    opens_by_its_ticket(&site, "PLAIN", "mech=PLAIN");
}

#[test]
fn by_plain_through_the_daemon() {
    let site = PasswordSite::new("php", &[ONE_SERVICE, ("sasl_mech_list", "PLAIN")]);
    opens_by_its_ticket(&site, "PLAIN", "mech=saslauthd");
}

#[test]
fn by_login_and_pass_through_the_daemon() {
    let site = PasswordSite::new("php", &[ONE_SERVICE, ("sasl_mech_list", "CASPT")]);
    opens_by_its_ticket(&site, "plaintext", "mech=saslauthd");
}

/// `login` is what Cyrus calls it in its log, and `mech` what we do.
fn opens_by_its_ticket(site: &PasswordSite, login: &str, mech: &str) {
    let alice = site.webmail.log_in("alice");
    let told = |opened: &Opened| format!("{opened:?}\n{}", site.cyrus.log().tail());
    let asked =
        |times: usize| assert_eq!(site.cas.validations(), times, "{:?}", site.cas.access_log());
    let decisions = |words: &str| {
        let lines = site.cyrus.log().lines();
        let of_ours = lines
            .iter()
            .filter(|line| line.text.contains(&format!("sso: {mech} ")));
        of_ours.filter(|line| line.text.contains(words)).count()
    };

    alice.fetch_ticket(IMAP);
    // Again and again, as with every page of the webmail.
    for service in [SERVICES, SERVICES].concat() {
        let mark = site.cyrus.log().mark();
        let opened = alice.open(&Mailbox::of(&site.cyrus, service));
        assert!(opened.opened, "{}", told(&opened));
        assert_eq!(opened.messages, Some(0), "{}", told(&opened));
        site.logged(mark, &[&format!(" alice {login}"), "User logged in"]);
    }
    asked(1);
    let imap = Mailbox::of(&site.cyrus, Service::Imap);
    let opened = alice.service_mail(IMAP, &imap);
    assert!(opened.opened, "{}", told(&opened));
    asked(2);
    // The ticket does not make her somebody else.
    let other = Mailbox {
        user: Some("bert"),
        ..imap
    };
    assert!(!alice.open(&other).opened);
    // The daemon's lines come a moment later.
    let told_of_her = || decisions("reason=user_mismatch") >= TRIES;
    assert!(wait_until(PATIENCE, told_of_her));
    asked(2);

    let before = decisions("outcome=refused");
    alice.spoil_ticket();
    for (turn, service) in (1..).zip(SERVICES) {
        let opened = alice.open(&Mailbox::of(&site.cyrus, service));
        assert!(!opened.opened, "{}", told(&opened));
        let tried = || decisions("reason=ticket_refused") >= TRIES * turn;
        assert!(wait_until(PATIENCE, tried), "{}", told(&opened));
    }
    // CAS has heard of it once, and the saslauthd of ordinary passwords of none of all this.
    assert_eq!(
        decisions("outcome=refused"),
        before + TRIES * SERVICES.len()
    );
    asked(3);
    site.behind.assert_asked(0);
    if site.daemon.is_some() {
        assert!(site.login("alice", SECRET));
        site.behind.assert_asked(1);
    }
}
