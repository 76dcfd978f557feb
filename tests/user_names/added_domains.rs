//! Domains that the host adds to a name: `virtdomains: on`, where an interface has one.

use super::mail_site::{MailSite, Presented, Way};
use crate::harness::cyrus::Service;
use crate::harness::syslog::Line;
use crate::harness::wait::PATIENCE;

/// The lines of imapd.conf for a host whose interface is `mail.b.example`.
const VIRTUAL: [(&str, &str); 2] = [("virtdomains", "on"), ("defaultdomain", "univ.fr")];

fn site(name: &str, lines: &[(&str, &str)]) -> MailSite {
    let lines = [&VIRTUAL, lines].concat();
    MailSite::with(name, &lines, &[Service::Imap], "mail.b.example")
}

/// The user whose mailbox a login opens, whose INBOX must name `owner`.
fn opened(site: &MailSite, way: Way, names: (&str, Option<&str>), owner: &str) -> Option<String> {
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
fn a_domain_that_the_interface_adds_is_refused_by_default() {
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
fn a_domain_that_the_interface_adds_is_accepted_with_sso_host_names_domain() {
    let site = site("interface-domain", &[("sasl_sso_host_names", "domain")]);
    site.mark_inboxes(&["alice@b.example", "alice@other.fr"]);
    for way in [Way::Caspt, Way::Plain, Way::OAuthBearer] {
        let user = opened(&site, way, ("alice", None), "alice@b.example");
        assert_eq!(user.as_deref(), Some("alice@b.example"), "{way:?}");
    }
    // A domain that the client types is not one that the host adds.
    for way in [Way::Caspt, Way::Plain, Way::Login] {
        let typed = ("alice", Some("alice@other.fr"));
        assert_eq!(opened(&site, way, typed, "nobody"), None, "{way:?}");
    }
    site.assert_no_process_aborted(0);
}
