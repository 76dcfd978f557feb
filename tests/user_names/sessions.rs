//! Tests that `sasl-sso sessions` finds a session by the mail server's name of its user.

use super::mail_env::{MailEnv, Presented, WAYS};
use serde_json::Value;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{code, sasl_sso};
use test_support::wait::{PATIENCE, wait_until};

fn sessions(site: &MailEnv, command: &[&str]) -> String {
    let conf = site.cyrus.imapd_conf().display().to_string();
    let arguments = [&["sessions"], command, &["--config", &conf]].concat();
    let (status, said, complaint) = sasl_sso(&arguments);
    assert_eq!(status, Some(0), "{complaint}");
    said
}

/// The users of the listed sessions.
fn listed(site: &MailEnv, user: &str) -> Vec<String> {
    let said = sessions(site, &["list", "--json", "--user", user]);
    let listed: Vec<Value> = serde_json::from_str(&said).expect("an array");
    let user = |session: &Value| session["user"].as_str().expect("a user").to_owned();
    listed.iter().map(user).collect()
}

#[test]
fn sessions_are_listed_and_flushed_by_the_name_of_the_host() {
    let lines = [
        ("virtdomains", "userid"),
        ("defaultdomain", "univ.fr"),
        ("sasl_sso_strip_domain", "guests.fr"),
    ];
    let site = MailEnv::new("names-sessions", &lines);
    // The principal, the mail user, and the host's name of it.
    let users = [
        ("Bob@Other.fr", "Bob@Other.fr", "bob@other.fr"),
        ("alice@guests.fr", "alice", "alice"),
        ("carol@univ.fr", "carol@univ.fr", "carol"),
    ];
    for (principal, mail_user, host_name) in users {
        for flushed_by in [principal, mail_user, host_name] {
            for way in WAYS {
                let presented = Presented {
                    principal,
                    authcid: Some(mail_user),
                    authzid: None,
                };
                let opened = site.log_in(way, presented, host_name);
                assert_eq!(opened.expect("a login").user, host_name, "{way:?}");
            }
            // The session of a token is written after its connection has ended.
            let is_listed = || listed(&site, host_name).len() == 4;
            assert!(wait_until(PATIENCE, is_listed), "{host_name}");
            for name in [principal, mail_user, host_name] {
                assert_eq!(listed(&site, name), [host_name; 4], "{name}");
            }
            let said = sessions(&site, &["flush", "--user", flushed_by]);
            assert!(
                said.contains("1 session of tickets and 3 of tokens"),
                "{flushed_by}: {said}"
            );
            assert!(listed(&site, host_name).is_empty(), "{flushed_by}");
        }
    }
    assert!(listed(&site, "bob").is_empty());
}

#[test]
fn session_of_another_mapping_is_not_used_and_denied_users_are_refused() {
    let site = Site::new("names-mapping");
    let log_in = |options: &[(&str, &str)], ticket: &str| {
        let answer = site.driver(options).ticket(ticket);
        match answer.code() {
            code::OK => answer.field("user").unwrap_or_default(),
            _ => answer.reason(),
        }
    };
    let strip = [("sso_strip_domain", "guests.fr")];
    site.cas.arm("PT-1-mapping", "alice@guests.fr", &[PROXY]);
    assert_eq!(log_in(&strip, "PT-1-mapping"), "alice");
    assert_eq!(log_in(&strip, "PT-1-mapping"), "alice");
    for other in [
        &[][..],
        &[("sso_strip_domain", "other.fr")],
        &[strip[0], ("sso_realm", "univ.fr")],
    ] {
        assert_eq!(log_in(other, "PT-1-mapping"), "ticket_refused", "{other:?}");
    }
    // The session belongs to the first mapping.
    assert_eq!(log_in(&strip, "PT-1-mapping"), "alice");
    let denied = [strip[0], ("sso_denied_users", "Alice")];
    assert_eq!(log_in(&denied, "PT-1-mapping"), "user_denied");
}
