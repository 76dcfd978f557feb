//! Tests of the PHP webmail, on which other tests rely.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options, Service};
use test_support::php_webmail::{Mailbox, Opened, PhpWebmail};
use test_support::scratch::Scratch;
use test_support::syslog::Line;
use test_support::wait::{PATIENCE, wait_until};

const IMAP: &str = "imap://localhost";
const SERVICES: [Service; 3] = [Service::Imap, Service::Imaps, Service::Pop3];

/// Starts a stock Cyrus that offers these mechanisms.
fn cyrus(scratch: &Scratch, authority: &Authority, mechanisms: &str) -> Cyrus {
    let options = Options {
        services: SERVICES.to_vec(),
        imapd_conf: vec![("sasl_mech_list".to_owned(), mechanisms.to_owned())],
        ..Options::default()
    };
    Cyrus::start(scratch, authority, options)
}

#[test]
fn phpcas_obtains_proxy_tickets_for_logged_in_users() {
    let scratch = Scratch::new("php");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
    let (alice, bert) = (webmail.log_in("alice"), webmail.log_in("bert"));
    assert_eq!(cas.validations(), 0, "{:?}", cas.access_log());
    let chain = format!(
        "<cas:proxies>\n      <cas:proxy>{}</cas:proxy>\n    </cas:proxies>",
        webmail.pgt_url()
    );
    for (session, user) in [(&alice, "alice"), (&bert, "bert"), (&alice, "alice")] {
        let ticket = session.fetch_ticket(IMAP);
        let spoilt = session.spoil_ticket();
        assert!(spoilt != ticket && spoilt.len() == ticket.len());
        let xml = cas.validate(IMAP, &spoilt);
        assert!(xml.contains("INVALID_TICKET"), "{xml}");
        // The ticket was not used before.
        let xml = cas.validate(IMAP, &ticket);
        assert!(
            xml.contains(&format!("<cas:user>{user}</cas:user>")),
            "{xml}"
        );
        assert!(xml.contains(&chain), "{xml}");
    }
}

#[test]
fn c_client_sends_the_ticket_by_authenticate_plain() {
    check_ticket_as_password("PLAIN", "PLAIN");
}

#[test]
fn c_client_sends_the_ticket_by_login_without_plain() {
    // A stock Cyrus has no plugin for this mechanism, so it offers none.
    check_ticket_as_password("CASPT", "plaintext");
}

/// Opens mailboxes at a stock Cyrus where the ticket is an ordinary password in the sasldb. `login`
/// is the name of the login method in the log of Cyrus.
fn check_ticket_as_password(mechanisms: &str, login: &str) {
    let scratch = Scratch::new("php");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
    let alice = webmail.log_in("alice");
    let cyrus = cyrus(&scratch, &authority, mechanisms);
    let context = |opened: &Opened| format!("{opened:?}\n{}", cyrus.log().tail());
    cyrus.sasl_user("alice", &alice.fetch_ticket(IMAP));
    for service in SERVICES {
        let mark = cyrus.log().mark();
        let opened = alice.open(&Mailbox::of(&cyrus, service));
        assert!(opened.opened, "{}", context(&opened));
        assert_eq!(opened.messages, Some(0), "{}", context(&opened));
        let tls = if service == Service::Imaps {
            "+TLS"
        } else {
            ""
        };
        let welcome = format!(" alice {login}{tls} User logged in");
        let welcome = |line: &Line| line.text.contains(&welcome);
        let line = cyrus.log().wait_for_since(mark, welcome, PATIENCE);
        assert!(line.is_some(), "{}", context(&opened));
    }
    let imap = Mailbox::of(&cyrus, Service::Imap);
    let other = Mailbox {
        user: Some("bert"),
        ..imap
    };
    assert!(!alice.open(&other).opened, "{}", cyrus.log().tail());

    let refusals = || {
        let lines = cyrus.log().lines();
        let refused = |line: &&Line| line.text.contains(&format!("] {login} (alice) ["));
        lines.iter().filter(refused).count()
    };
    let refused = |opened: &Opened, count: usize| {
        assert!(!opened.opened, "{}", context(opened));
        assert_eq!(opened.messages, None, "{}", context(opened));
        assert!(!opened.errors.is_empty(), "{}", context(opened));
        wait_until(PATIENCE, || refusals() >= count);
        assert_eq!(refusals(), count, "{}", context(opened));
    };
    assert_eq!(refusals(), 0, "{}", cyrus.log().tail());
    alice.spoil_ticket();
    for (turn, service) in (1..).zip(SERVICES) {
        refused(&alice.open(&Mailbox::of(&cyrus, service)), 3 * turn);
    }
    // serviceMail obtains another ticket, which the sasldb does not contain.
    refused(&alice.service_mail(IMAP, &imap), 12);
}

#[test]
fn c_client_trusts_only_the_ca_of_the_test() {
    let scratch = Scratch::new("php");
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let webmail = PhpWebmail::start(&scratch, &authority, &cas, "webmail");
    let alice = webmail.log_in("alice");
    let ticket = alice.fetch_ticket(IMAP);
    for (authority, trusted) in [(&authority, true), (&Authority::new(), false)] {
        let scratch = Scratch::new("tls");
        let cyrus = cyrus(&scratch, authority, "PLAIN");
        cyrus.sasl_user("alice", &ticket);
        let strict = Mailbox::of(&cyrus, Service::Imaps);
        let opened = alice.open(&strict);
        assert_eq!(opened.opened, trusted, "{opened:?}");
        let lax = Mailbox {
            flags: "/novalidate-cert",
            ..strict
        };
        let opened = alice.open(&lax);
        assert!(opened.opened, "{opened:?}");
    }
}
