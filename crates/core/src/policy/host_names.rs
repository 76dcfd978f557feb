//! The host's canonicalization of a mail user's name, and which of its changes are accepted.

#![forbid(unsafe_code)]

use crate::error::{Failure, Reason};
use crate::policy::user_mapping::MailUser;

/// `sso_host_names`: which changes that the host makes to a mail user's name are
/// accepted. Lower case is always accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostNamePolicy {
    /// The loss of one domain, which is the host's default domain.
    #[default]
    Same,
    /// Also a domain that the host adds: `virtdomains: on`, or Postfix'
    /// `smtpd_sasl_local_domain`.
    Domain,
    /// Any other name, such as the canonical one of `pts_module: ldap`.
    Any,
}

impl HostNamePolicy {
    /// The words that the option takes.
    pub const ALL: [(&str, Self); 3] = [
        ("same", Self::Same),
        ("domain", Self::Domain),
        ("any", Self::Any),
    ];

    /// Whether `host_name` may stand for `user`.
    pub fn accepts(self, user: &MailUser, host_name: &str) -> bool {
        let user = user.as_str();
        let is_user = match user.split_once('@') {
            // The host removes its default domain and no other.
            Some((local, _)) => is_folded(user, host_name) || is_folded(local, host_name),
            None => is_folded(user, host_name),
        };
        match self {
            _ if is_user => true,
            Self::Same => false,
            Self::Domain => host_name.split_once('@').is_some_and(|(local, domain)| {
                !user.contains('@') && is_valid_domain(domain) && is_folded(user, local)
            }),
            // imapd's imapmagicplus would treat alice's mail as that of alice+x.
            Self::Any => !host_name.is_empty() && !user.contains('+'),
        }
    }
}

/// Whether `name` is `user`, or `user` in lower case.
fn is_folded(user: &str, name: &str) -> bool {
    let lower = user.bytes().map(|byte| byte.to_ascii_lowercase());
    user == name || lower.eq(name.bytes())
}

fn is_valid_domain(domain: &str) -> bool {
    !domain.is_empty() && !domain.contains(['@', '%', '!'])
}

/// How the host application canonicalizes the names of its users.
///
/// For Cyrus imapd this models `canonify_userid` of imap/global.c and `mycanonifyid` of
/// lib/auth_unix.c with the options of imapd.conf(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostNames {
    /// Unknown: names are not changed.
    #[default]
    Unknown,
    /// Cyrus imapd with these options.
    Imapd(ImapdNames),
}

/// The options of imapd.conf that affect names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImapdNames {
    /// `username_tolower`.
    pub lower_case: bool,
    /// `virtdomains`.
    pub virtual_domains: VirtualDomains,
    /// `defaultdomain`, which is removed if `virtdomains` is not off.
    pub default_domain: String,
    /// `loginrealms`: the domains that may log in.
    pub login_realms: Vec<String>,
    /// Whether `auth_mech` is `unix`, whose allowed characters are known.
    pub is_auth_unix: bool,
    /// `imapmagicplus` of imapd, or `popsubfolders` of pop3d: what follows a `+` is not a part of
    /// the name.
    pub drops_detail: bool,
}

/// `virtdomains` of imapd.conf(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VirtualDomains {
    /// Names have no domain, unless `loginrealms` lists it.
    #[default]
    Off,
    /// A domain is part of the name.
    UserId,
    /// As `UserId`; a name without a domain gets that of the interface.
    On,
}

impl HostNames {
    /// The canonical form of `user`. With `virtdomains: on` the domain that the interface may add
    /// is unknown and is left out.
    ///
    /// # Errors
    /// [`Reason::UserNotAccepted`] if the host rejects the name.
    pub fn canonical(&self, user: &str) -> Result<String, Failure> {
        match self {
            Self::Unknown => Ok(user.to_owned()),
            Self::Imapd(imapd) => imapd.canonical(user),
        }
    }

    /// The canonical form of `user` in all services of the host: a name with a `+` stays different,
    /// although imapd and pop3d may remove the rest.
    ///
    /// # Errors
    /// [`Reason::UserNotAccepted`] if the host rejects the name.
    pub fn folded(&self, user: &str) -> Result<String, Failure> {
        match self {
            Self::Unknown => Ok(user.to_owned()),
            Self::Imapd(imapd) => imapd.folded(user.to_owned()),
        }
    }

    /// Whether two names mean the same user in every service of the host.
    pub fn is_same(&self, one: &str, other: &str) -> bool {
        let folded = |name| self.folded(name).ok();
        one == other || folded(one).is_some_and(|name| folded(other) == Some(name))
    }
}

impl ImapdNames {
    /// The maximum length of a name, in bytes.
    const MAX_BYTES: usize = 80;

    fn canonical(&self, user: &str) -> Result<String, Failure> {
        let mut name = user.to_owned();
        if self.drops_detail
            && let Some(plus) = name.find('+')
        {
            let end = match self.virtual_domains {
                VirtualDomains::Off => name.len(),
                _ => name[plus..].find('@').map_or(name.len(), |at| plus + at),
            };
            name.replace_range(plus..end, "");
        }
        self.folded(name)
    }

    fn folded(&self, mut name: String) -> Result<String, Failure> {
        let user = name.clone();
        let refused = |why: &str| {
            let what = format!("the host does not take the name {user}: {why}");
            Err(Failure::new(Reason::UserNotAccepted, what))
        };
        if self.virtual_domains != VirtualDomains::Off {
            if !name.contains('@')
                && let Some(percent) = name.rfind('%')
            {
                name.replace_range(percent..=percent, "@");
            }
            if let Some((local, domain)) = name.rsplit_once('@')
                && domain.eq_ignore_ascii_case(&self.default_domain)
            {
                name.truncate(local.len());
            }
        }
        if name.is_empty() {
            return refused("nothing is left of it");
        }
        if name.len() > Self::MAX_BYTES {
            return refused("it is longer than 80 bytes");
        }
        if self.is_auth_unix && !name.bytes().all(is_allowed) {
            return refused("it has a character that imapd does not allow");
        }
        if self.lower_case {
            name.make_ascii_lowercase();
        }
        if self.virtual_domains == VirtualDomains::Off || !self.login_realms.is_empty() {
            let domain = name.split_once('@').map(|(_, domain)| domain);
            let is_listed = |domain: &str| {
                let mut realms = self.login_realms.iter();
                realms.any(|realm| realm.eq_ignore_ascii_case(domain))
            };
            if domain.is_some_and(|domain| !is_listed(domain)) {
                return refused("its domain is not in loginrealms");
            }
        }
        Ok(name)
    }
}

/// Whether imapd allows a byte in a name (`allowedchars` in lib/auth_unix.c).
fn is_allowed(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte) && !b"%&*/:?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::user_mapping::Mapping;

    fn user(name: &str) -> MailUser {
        Mapping::default().mail_user(name).unwrap()
    }

    #[test]
    fn host_name_is_accepted_only_for_the_same_user() {
        use HostNamePolicy::{Any, Domain, Same};
        for (policy, mail_user, host_name, is_accepted) in [
            (Same, "alice", "alice", true),
            (Same, "Alice", "alice", true),
            (Same, "alice", "Alice", false),
            (Same, "alice@univ.fr", "alice", true),
            (Same, "Alice@Univ.FR", "alice", true),
            (Same, "alice@univ.fr", "alice@univ.fr", true),
            (Same, "alice", "alice@b.example", false),
            (Same, "alice+x", "alice", false),
            (Same, "alice@univ.fr", "alice@other.fr", false),
            (Same, "alice", "", false),
            (Domain, "alice", "alice@b.example", true),
            (Domain, "Alice", "alice@b.example", true),
            (Domain, "alice@univ.fr", "alice@univ.fr@b.example", false),
            (Domain, "alice@univ.fr", "alice@b.example", false),
            (Domain, "alice", "bob@b.example", false),
            (Domain, "alice", "alice@", false),
            (Domain, "alice", "alice@b@c", false),
            (Domain, "alice+x", "alice", false),
            (Any, "alice", "uid-4711", true),
            (Any, "alice+x", "alice", false),
            (Any, "alice", "", false),
        ] {
            assert_eq!(
                policy.accepts(&user(mail_user), host_name),
                is_accepted,
                "{policy:?} {mail_user} {host_name}"
            );
        }
    }

    fn imapd(virtual_domains: VirtualDomains) -> ImapdNames {
        ImapdNames {
            lower_case: true,
            virtual_domains,
            default_domain: "univ.fr".to_owned(),
            login_realms: Vec::new(),
            is_auth_unix: true,
            drops_detail: false,
        }
    }

    #[track_caller]
    fn assert_canonical(imapd: ImapdNames, table: &[(&str, Option<&str>)]) {
        let names = HostNames::Imapd(imapd);
        for (name, expected) in table {
            let canonical = names.canonical(name).ok();
            assert_eq!(canonical.as_deref(), *expected, "{name}");
        }
    }

    #[test]
    fn with_virtual_domains_the_default_domain_is_removed_once() {
        assert_canonical(
            imapd(VirtualDomains::UserId),
            &[
                ("Alice@Univ.FR", Some("alice")),
                ("alice@other.fr", Some("alice@other.fr")),
                ("bob%other.fr", Some("bob@other.fr")),
                ("alice@univ.fr@univ.fr", Some("alice@univ.fr")),
                ("@univ.fr", None),
                ("alice*", None),
                ("a\u{e9}", None),
            ],
        );
    }

    #[test]
    fn without_virtual_domains_only_loginrealms_are_allowed() {
        assert_canonical(
            imapd(VirtualDomains::Off),
            &[("Alice", Some("alice")), ("alice@univ.fr", None)],
        );
        let listed = ImapdNames {
            login_realms: vec!["univ.fr".to_owned()],
            ..imapd(VirtualDomains::Off)
        };
        let names = [("alice@Univ.fr", Some("alice@univ.fr")), ("a@x.fr", None)];
        assert_canonical(listed, &names);
    }

    #[test]
    fn imapmagicplus_suffix_is_removed() {
        let magic = |virtual_domains| ImapdNames {
            drops_detail: true,
            ..imapd(virtual_domains)
        };
        assert_canonical(magic(VirtualDomains::Off), &[("alice+x", Some("alice"))]);
        let names = [("alice+x@other.fr", Some("alice@other.fr"))];
        assert_canonical(magic(VirtualDomains::UserId), &names);
        // Other services treat these as two users.
        let names = HostNames::Imapd(magic(VirtualDomains::Off));
        assert!(!names.is_same("alice+x", "alice"));
    }

    #[test]
    fn names_of_an_unknown_host_are_compared_unchanged() {
        let names = HostNames::default();
        assert!(names.is_same("Alice", "Alice") && !names.is_same("Alice", "alice"));
    }
}
