//! `sasl-sso serve` with a real Cyrus: a ticket where the password would be, and ordinary passwords
//! beside it.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod services;
mod trusted_fallback;

use test_support::daemon_site::Site;
use test_support::imap::Imap;
use test_support::libsasl2::site::PROXY;

#[test]
fn a_ticket_that_came_by_login_is_a_session_for_caspt_and_the_other_way_round() {
    let site = Site::new("shared", &[]);
    site.cas.arm("PT-1-login", "alice", &[PROXY]);
    site.cas.arm("PT-2-caspt", "alice", &[PROXY]);
    let port = site.cyrus.imap_port();
    let caspt = |ticket: &str| {
        let message = format!("\0\0{ticket}");
        Imap::connect(port).authenticate("CASPT", message.as_bytes(), &[b"\x01"])
    };
    let login = |ticket: &str| Imap::connect(port).login("alice", ticket);
    assert!(login("PT-1-login").ok, "{}", site.cyrus.log().tail());
    assert!(caspt("PT-1-login").ok);
    assert!(caspt("PT-2-caspt").ok);
    assert!(login("PT-2-caspt").ok);
    assert_eq!(site.cas.requests().len(), 2);
}

#[test]
fn the_mailbox_that_the_host_will_open_is_the_one_that_the_credential_is_for() {
    let mapped = [
        ("sasl_sso_strip_domain", "old.fr older.fr"),
        ("sasl_sso_realm", "univ.fr"),
        ("loginrealms", "univ.fr"),
    ];
    let site = Site::new("mapped", &mapped);
    site.cas.arm("PT-1-mapped", "alice@old.fr", &[PROXY]);
    let ask = |user: &str| site.ask(user, "PT-1-mapped");
    // imapd lower-cases what a client says, but not what CAS says.
    for user in ["alice@univ.fr", "Alice@univ.fr"] {
        assert_eq!(ask(user).as_deref(), Some("OK"), "{user}");
    }
    // These are other mailboxes, even if the single sign-on knows alice by such a name.
    for user in [
        "alice",
        "alice@old.fr",
        "alice@older.fr",
        "cyrus",
        "@univ.fr",
        "alice@univ.fr@x",
    ] {
        let mark = site.mark();
        assert_eq!(ask(user).as_deref(), Some("NO"), "{user}");
        site.said(mark, &["reason=user_mismatch"]);
    }
    assert_eq!(site.cas.requests().len(), 1);
}
