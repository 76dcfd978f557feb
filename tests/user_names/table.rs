//! Tests of all principals in all configurations, by all ways of logging in.

use super::mail_env::{MailEnv, Presented, WAYS, Way};
use super::oracle::{MAPPINGS, Mapping, Names, VIRTUAL_DOMAINS, VirtualDomains};
use super::principals::{CLAIMS, Expected, PRINCIPALS};

/// The number of attempts and of opened mailboxes.
#[derive(Debug, Default)]
struct Count {
    logins: usize,
    opened: usize,
    explained: usize,
}

/// Logs in all principals by all ways in one configuration.
fn log_in_all(names: Names) -> Count {
    let name = format!("names-{:?}-{:?}", names.virtual_domains, names.mapping);
    let site = MailEnv::new(&name.to_lowercase(), &names.lines());
    let mut count = Count::default();
    site.mark_inboxes(&names.victims());
    for (principal, expected) in PRINCIPALS {
        let mut by_token = None;
        for way in WAYS {
            // LOGIN opens the mailbox of the name that the client sends.
            let mail_user = names.mail_user(principal);
            let said = [Some(mail_user.as_str()), Some(*principal)];
            let said = match way {
                Way::Login => &said[..],
                _ => &[None],
            };
            let mut is_open = false;
            for authcid in said {
                let presented = Presented {
                    principal,
                    authcid: *authcid,
                    authzid: None,
                };
                let user = judge(&site, names, way, presented, &mut count);
                is_open |= user.is_some();
                if way == Way::OAuthBearer {
                    by_token = user;
                }
            }
            let told = || {
                format!(
                    "{names:?} {principal:?} {way:?}\n{}",
                    site.cyrus.log().tail()
                )
            };
            match expected {
                Expected::Open => assert!(is_open, "is refused: {}", told()),
                Expected::Refuse => assert!(!is_open, "is accepted: {}", told()),
                Expected::Spelled => {}
            }
        }
        let explained = site.explain(principal, &[]);
        let user = (explained.field("outcome") == "accepted").then(|| explained.field("user"));
        assert_eq!(user, by_token, "{names:?} {principal:?}\n{explained:?}");
        count.explained += 1;
    }
    for (principal, other) in CLAIMS {
        for way in WAYS {
            let presented = |authcid, authzid| Presented {
                principal,
                authcid,
                authzid,
            };
            judge(&site, names, way, presented(Some(other), None), &mut count);
            if way != Way::Login {
                judge(&site, names, way, presented(None, Some(other)), &mut count);
                judge(
                    &site,
                    names,
                    way,
                    presented(Some(other), Some(other)),
                    &mut count,
                );
            }
        }
    }
    site.assert_no_process_aborted(0);
    count
}

/// Logs in once, and asserts that the opened mailbox is the principal's own. Returns the user.
fn judge(
    site: &MailEnv,
    names: Names,
    way: Way,
    presented: Presented<'_>,
    count: &mut Count,
) -> Option<String> {
    let owner = names.owner(presented.principal);
    count.logins += 1;
    let opened = site.log_in(way, presented, &owner)?;
    count.opened += 1;
    let told = || {
        format!(
            "{names:?} {way:?} {presented:?}\n{}",
            site.cyrus.log().tail()
        )
    };
    assert_eq!(opened.user, owner, "{}", told());
    assert!(
        opened.owners.iter().all(|found| *found == owner),
        "{opened:?} {}",
        told()
    );
    assert_ne!(owner, "cyrus", "an administrator: {}", told());
    Some(opened.user)
}

#[test]
fn principals_open_only_their_own_mailbox() {
    // `make names` runs all configurations.
    let count = log_in_all(Names {
        virtual_domains: VirtualDomains::UserId,
        mapping: Mapping::Strip,
    });
    assert!(count.opened > 100, "{count:?}");
}

#[test]
#[ignore = "make names: all configurations"]
fn principals_open_only_their_own_mailbox_in_all_configurations() {
    for virtual_domains in VIRTUAL_DOMAINS {
        for mapping in MAPPINGS {
            let names = Names {
                virtual_domains,
                mapping,
            };
            let count = log_in_all(names);
            println!("{names:?}: {count:?}");
        }
    }
}
