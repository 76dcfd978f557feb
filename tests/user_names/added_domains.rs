//! Tests of what the host adds to a name or removes from it: the domain of the interface, and what
//! follows a `+`.

use super::mail_env::{MailEnv, Presented, WAYS, Way};
use test_support::cyrus::Service;
use test_support::syslog::Line;
use test_support::wait::PATIENCE;

/// The options of a host whose interface is `mail.b.example`.
const VIRTUAL: [(&str, &str); 2] = [("virtdomains", "on"), ("defaultdomain", "univ.fr")];

fn site(name: &str, lines: &[(&str, &str)]) -> MailEnv {
    let lines = [&VIRTUAL, lines].concat();
    MailEnv::with(name, &lines, &[Service::Imap], "mail.b.example")
}

/// The user whose mailbox a login opens. Its INBOX must name `owner`.
fn opened(site: &MailEnv, way: Way, names: (&str, Option<&str>), owner: &str) -> Option<String> {
    let presented = Presented {
        principal: names.0,
        authcid: names.1,
        authzid: None,
    };
    let opened = site.log_in(way, presented, owner)?;
    assert_eq!(opened.owners, [owner], "{way:?} {presented:?}");
    Some(opened.user)
}

#[test]
fn added_domain_of_the_interface_is_refused_by_default() {
    let site = site("interface-same", &[]);
    site.mark_inboxes(&["alice@b.example"]);
    for way in [Way::Caspt, Way::Plain, Way::OAuthBearer] {
        let mark = site.cyrus.log().mark();
        assert_eq!(
            opened(&site, way, ("alice", None), "nobody"),
            None,
            "{way:?}"
        );
        let log = site.cyrus.log();
        let is_told = |line: &Line| line.text.contains("reason=user_rewritten");
        let line = log.wait_for_since(mark, is_told, PATIENCE);
        assert!(line.is_some(), "{way:?}\n{}", log.tail());
        let whole = opened(&site, way, ("alice@univ.fr", None), "alice");
        assert_eq!(whole.as_deref(), Some("alice"), "{way:?}");
    }
    assert_eq!(opened(&site, Way::Login, ("alice", None), "nobody"), None);
    site.assert_no_process_aborted(0);
}

#[test]
fn added_domain_is_accepted_with_sso_host_names_domain() {
    let site = site("interface-domain", &[("sasl_sso_host_names", "domain")]);
    site.mark_inboxes(&["alice@b.example", "alice@other.fr"]);
    for way in [Way::Caspt, Way::Plain, Way::OAuthBearer] {
        let user = opened(&site, way, ("alice", None), "alice@b.example");
        assert_eq!(user.as_deref(), Some("alice@b.example"), "{way:?}");
    }
    // A domain that the client sends was not added by the host.
    for way in [Way::Caspt, Way::Plain, Way::Login] {
        let typed = ("alice", Some("alice@other.fr"));
        assert_eq!(opened(&site, way, typed, "nobody"), None, "{way:?}");
    }
    site.assert_no_process_aborted(0);
}

/// With `imapmagicplus` imapd removes what follows a `+`; timsieved does not.
#[test]
fn removed_plus_opens_no_other_mailbox_and_explain_agrees() {
    let lines = [("imapmagicplus", "yes"), ("popsubfolders", "yes")];
    let site = MailEnv::new("magic-plus", &lines);
    site.mark_inboxes(&["alice"]);
    for principal in ["alice+", "alice+x", "+", "+x"] {
        let explained = site.explain(principal, &[]);
        let is_explained = explained.field("outcome") == "accepted";
        for way in WAYS {
            let user = opened(&site, way, (principal, None), principal);
            assert_ne!(user.as_deref(), Some("alice"), "{principal} {way:?}");
            let is_told = way == Way::Login || user.is_some() == is_explained;
            assert!(is_told, "{principal} {way:?} {user:?}\n{explained:?}");
        }
        let of_pop = site.explain(principal, &["--sasl-service", "pop"]);
        assert_ne!(of_pop.field("outcome"), "accepted", "{of_pop:?}");
        let of_sieve = site.explain(principal, &["--sasl-service", "sieve"]);
        assert_eq!(of_sieve.field("user"), principal, "{of_sieve:?}");
    }
    // imapd accepts the user's own name with a +.
    for way in [Way::Caspt, Way::Plain, Way::Login] {
        let user = opened(&site, way, ("alice", Some("alice+")), "alice");
        assert!(
            user.is_none_or(|user| user.trim_end_matches('+') == "alice"),
            "{way:?}"
        );
    }
    site.assert_no_process_aborted(0);
}
