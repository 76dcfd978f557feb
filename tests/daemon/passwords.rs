//! `sasl-sso serve` with a real Cyrus: tickets in place of the password, and ordinary passwords.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

mod services;
mod trusted_fallback;

use test_support::daemon_site::DaemonEnv;
use test_support::imap::Imap;
use test_support::libsasl2::site::PROXY;

#[test]
fn login_and_caspt_share_the_session_of_a_ticket() {
    let env = DaemonEnv::new("shared", &[]);
    env.cas.arm("PT-1-login", "alice", &[PROXY]);
    env.cas.arm("PT-2-caspt", "alice", &[PROXY]);
    let port = env.cyrus.imap_port();
    let caspt = |ticket: &str| {
        let message = format!("\0\0{ticket}");
        Imap::connect(port).authenticate("CASPT", message.as_bytes(), &[b"\x01"])
    };
    let login = |ticket: &str| Imap::connect(port).login("alice", ticket);
    assert!(login("PT-1-login").ok, "{}", env.cyrus.log().tail());
    assert!(caspt("PT-1-login").ok);
    assert!(caspt("PT-2-caspt").ok);
    assert!(login("PT-2-caspt").ok);
    assert_eq!(env.cas.requests().len(), 2);
}

#[test]
fn user_name_must_match_the_mailbox_of_the_principal() {
    let mapped = [
        ("sasl_sso_strip_domain", "old.fr older.fr"),
        ("sasl_sso_realm", "univ.fr"),
        ("loginrealms", "univ.fr"),
    ];
    let env = DaemonEnv::new("mapped", &mapped);
    env.cas.arm("PT-1-mapped", "alice@old.fr", &[PROXY]);
    let ask = |user: &str| env.ask(user, "PT-1-mapped");
    // imapd converts the name from the client to lower case, but not the name from CAS.
    for user in ["alice@univ.fr", "Alice@univ.fr"] {
        assert_eq!(ask(user).as_deref(), Some("OK"), "{user}");
    }
    // These names are other mailboxes, even if alice has such a name at the SSO server.
    for user in [
        "alice",
        "alice@old.fr",
        "alice@older.fr",
        "cyrus",
        "@univ.fr",
        "alice@univ.fr@x",
    ] {
        let mark = env.mark();
        assert_eq!(ask(user).as_deref(), Some("NO"), "{user}");
        env.wait_for_log(mark, &["reason=user_mismatch"]);
    }
    assert_eq!(env.cas.requests().len(), 1);
}
