//! The mapping of principals to mail users, and which mail users are denied.
//!
//! Cyrus imapd rewrites names when it canonicalizes them: `%` becomes `@`, and the default domain
//! is removed. A principal with such characters could become another user. So a name is checked
//! before the host sees it, and the host's name is compared with it afterwards
//! ([`crate::policy::host_names`]).

#![forbid(unsafe_code)]

use std::fmt;

use crate::error::{Failure, Reason};
use crate::platform::log::{is_hidden, listed};
use crate::policy::host_names::HostNamePolicy;
use crate::principal::Principal;

/// The name of a mail user, as the options map it from a principal.
///
/// It has at most one `@` and none of the characters that Cyrus imapd rewrites or that have a
/// meaning in its mailbox names, and it is not a word that imapd reserves. Only
/// [`Mapping::mail_user`] and a sealed session create one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailUser(String);

/// The user whom a validated credential authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUser {
    /// The name that the SSO server vouches for.
    pub principal: Principal,
    /// The mail user that the options map it to.
    pub mail_user: MailUser,
    /// The name that the host's canonicalization made of the mail user at the last login; `None` if
    /// it matches [`HostNamePolicy::Same`].
    pub host_name: Option<String>,
}

/// How principals become mail users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPolicy {
    /// `sso_strip_domain` and `sso_realm`.
    pub mapping: Mapping,
    /// `sso_denied_users`: mail users that single sign-on must not authenticate.
    pub denied_users: Vec<String>,
    /// `sso_host_names`: which changes of a name by the host are accepted.
    pub host_names: HostNamePolicy,
}

/// `sso_strip_domain` and `sso_realm`: what is removed from a principal, and what is added
/// afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Domains, in lower case, that are removed from `user@domain` and `DOMAIN\user`.
    pub strip_domains: Vec<String>,
    /// The realm that is added to a name without one.
    pub realm: Option<String>,
}

impl MailUser {
    /// The maximum length of a mail user's name, in bytes, that Cyrus imapd accepts
    /// (`mycanonifyid` in lib/auth_unix.c).
    const MAX_BYTES: usize = 80;

    /// Local parts that imapd's ACLs and its canonicalization reserve, in any case and
    /// with any domain (`canonify_userid` in imap/global.c, lib/acl.c).
    const RESERVED: [&str; 3] = ["anyone", "anybody", "anonymous"];

    /// Characters that imapd rewrites or that separate the parts of its mailbox names:
    /// `%` becomes `@`; `!` separates the domain, and aborts imapd at SELECT; `^`
    /// stands for a dot.
    const FORBIDDEN: [char; 3] = ['%', '!', '^'];

    /// Checks and wraps the name of a mail user.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`] with the problem.
    pub fn new(name: String) -> Result<Self, Failure> {
        if name.is_empty() {
            return Err(unusable(
                "nothing is left of the user name without its domain",
            ));
        }
        if name.len() > Self::MAX_BYTES {
            return Err(unusable("the mail user's name is longer than 80 bytes"));
        }
        check_characters(&name)?;
        let local = name.split('@').next().unwrap_or_default();
        let is_local = |word: &&str| local.eq_ignore_ascii_case(word);
        if Self::RESERVED.iter().any(is_local) {
            let what = format!("the mail server reserves the user name {local}");
            return Err(Failure::new(Reason::UserUnusable, what));
        }
        let has_prefix = |prefix: &str| {
            let head = local.get(..prefix.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
        };
        if has_prefix("group:") || has_prefix("-") {
            let what = "the mail server reserves user names that begin with group: or a hyphen";
            return Err(unusable(what));
        }
        if local.is_empty() || name.ends_with('@') {
            return Err(unusable("the user name lacks a part beside its @"));
        }
        Ok(Self(name))
    }

    /// Creates the mail user of a session entry. Its seal shows that the name was checked when the
    /// entry was written.
    pub(crate) fn from_record(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SessionUser {
    /// The names by which an administrator may refer to this user.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let names = [self.principal.as_str(), self.mail_user.as_str()];
        names.into_iter().chain(self.host_name.as_deref())
    }
}

impl Default for UserPolicy {
    fn default() -> Self {
        Self {
            mapping: Mapping::default(),
            denied_users: vec!["cyrus".to_owned()],
            host_names: HostNamePolicy::Same,
        }
    }
}

impl UserPolicy {
    /// Maps a validated principal to its mail user.
    ///
    /// # Errors
    /// As [`Mapping::mail_user`].
    pub fn session_user(&self, principal: Principal) -> Result<SessionUser, Failure> {
        Ok(SessionUser {
            mail_user: self.mapping.mail_user(principal.as_str())?,
            principal,
            host_name: None,
        })
    }

    /// Requires that single sign-on may authenticate `name`, which is a mail user or the host's
    /// name of one.
    ///
    /// # Errors
    /// [`Reason::UserDenied`] if `sso_denied_users` lists it.
    pub fn check_denied(&self, name: &str) -> Result<(), Failure> {
        let is_denied = |denied: &String| denied.eq_ignore_ascii_case(name);
        if self.denied_users.iter().any(is_denied) {
            let what = format!("sso_denied_users lists {name}");
            return Err(Failure::new(Reason::UserDenied, what));
        }
        Ok(())
    }

    /// Requires that the host's name still means `user`, and that single sign-on may authenticate
    /// it.
    ///
    /// # Errors
    /// [`Reason::UserRewritten`] or [`Reason::UserDenied`].
    pub fn check_host_name(&self, user: &MailUser, host_name: &str) -> Result<(), Failure> {
        if !self.host_names.accepts(user, host_name) {
            let what = format!(
                "the host makes {host_name} of {}, which sso_host_names does not accept",
                user.as_str()
            );
            return Err(Failure::new(Reason::UserRewritten, what));
        }
        self.check_denied(host_name)
    }
}

impl Mapping {
    /// Maps the name of a principal to a mail user.
    ///
    /// After a domain is removed, the rest must not have another domain: `bob@other.fr@guests.fr`
    /// does not become `bob@other.fr`.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`] if the name could mean another user, before or after the mapping.
    pub fn mail_user(&self, name: &str) -> Result<MailUser, Failure> {
        check_characters(name)?;
        let mut user = match self.stripped(name) {
            Some(local) if local.contains(['@', '\\']) => {
                let what = "the user name has a second domain behind the one that is stripped";
                return Err(unusable(what));
            }
            Some(local) => local.to_owned(),
            None => name.to_owned(),
        };
        if let Some(realm) = &self.realm
            && !user.contains('@')
            && !user.is_empty()
        {
            user = format!("{user}@{realm}");
        }
        MailUser::new(user)
    }

    /// Removes a domain that is to be stripped; `None` if the name has none.
    fn stripped<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.strip_domains.is_empty() {
            return None;
        }
        if let Some((domain, local)) = name.split_once('\\')
            && self.strips(domain)
        {
            return Some(local);
        }
        let (local, domain) = name.rsplit_once('@')?;
        self.strips(domain).then_some(local)
    }

    fn strips(&self, domain: &str) -> bool {
        self.strip_domains
            .iter()
            .any(|stripped| stripped.eq_ignore_ascii_case(domain))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strip = match &self.strip_domains[..] {
            [] => "not set".to_owned(),
            domains => listed(domains),
        };
        let realm = self.realm.as_deref().unwrap_or("not set");
        write!(f, "sso_strip_domain {strip}, sso_realm {realm}")
    }
}

/// Requires that no character of `name` could make a mail server take it for another name.
fn check_characters(name: &str) -> Result<(), Failure> {
    if name.chars().any(|c| is_hidden(c) || c.is_whitespace()) {
        return Err(unusable(
            "the user name has control characters or white space",
        ));
    }
    if let Some(character) = name.chars().find(|c| MailUser::FORBIDDEN.contains(c)) {
        let what = format!("the user name has the character {character}, which imapd rewrites");
        return Err(Failure::new(Reason::UserUnusable, what));
    }
    if name.bytes().filter(|byte| *byte == b'@').count() > 1 {
        return Err(unusable("the user name has more than one @"));
    }
    Ok(())
}

fn unusable(what: &str) -> Failure {
    Failure::new(Reason::UserUnusable, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SessionUser {
        /// Creates a user whose principal and mail user are `name`.
        pub(crate) fn of_test(name: &str) -> Self {
            let principal = Principal::validated(name).unwrap();
            UserPolicy::default().session_user(principal).unwrap()
        }
    }

    fn mapping(strip: &[&str], realm: Option<&str>) -> Mapping {
        Mapping {
            strip_domains: strip.iter().map(|s| (*s).to_owned()).collect(),
            realm: realm.map(str::to_owned),
        }
    }

    #[track_caller]
    fn assert_maps(mapping: &Mapping, table: &[(&str, Option<&str>)]) {
        for (name, expected) in table {
            let user = mapping.mail_user(name);
            let user = user.as_ref().map(MailUser::as_str);
            assert_eq!(user.ok(), *expected, "{name}");
        }
    }

    #[test]
    fn name_is_unchanged_without_options() {
        let kept = |name| (name, Some(name));
        assert_maps(
            &Mapping::default(),
            &[
                kept("alice"),
                kept("Alice"),
                kept("alice@univ.fr"),
                kept("alice+x"),
                kept("a.b-c_d"),
                kept("UNIV\\alice"),
                kept("anyones"),
                kept("my-anyone"),
                kept("group"),
            ],
        );
    }

    #[test]
    fn names_that_imapd_rewrites_or_reserves_are_rejected() {
        let refused = [
            "",
            "@",
            "@univ.fr",
            "alice@",
            "a@b@univ.fr",
            "bob%other.fr",
            "alice%univ.fr@guests.fr",
            "a!b",
            "x!user.alice",
            "a^b",
            "a b",
            "a\tb",
            "a\0b",
            "anyone",
            "AnyOne",
            "anyone@univ.fr",
            "anybody",
            "anonymous",
            "Anonymous@other.fr",
            "group:mail",
            "GROUP:mail@univ.fr",
            "-alice",
            "-alice@univ.fr",
            "-",
        ];
        for mapping in [
            Mapping::default(),
            mapping(&["guests.fr", "univ.fr"], None),
            mapping(&[], Some("univ.fr")),
        ] {
            for name in refused {
                let failure = mapping.mail_user(name).unwrap_err();
                assert_eq!(failure.reason(), Reason::UserUnusable, "{name}");
            }
        }
    }

    #[test]
    fn only_the_listed_domains_are_stripped() {
        assert_maps(
            &mapping(&["univ.fr"], None),
            &[
                ("alice@Univ.FR", Some("alice")),
                ("alice@evil.example", Some("alice@evil.example")),
                ("alice@sub.univ.fr", Some("alice@sub.univ.fr")),
                ("anyone@univ.fr", None),
                ("@univ.fr", None),
            ],
        );
    }

    #[test]
    fn windows_domain_is_stripped() {
        assert_maps(
            &mapping(&["univ"], None),
            &[
                ("UNIV\\alice", Some("alice")),
                ("OTHER\\alice", Some("OTHER\\alice")),
                ("UNIV\\alice@other.fr", None),
                ("UNIV\\OTHER\\alice", None),
                ("OTHER\\alice@univ", None),
                ("UNIV\\", None),
            ],
        );
    }

    #[test]
    fn second_domain_after_stripping_is_rejected() {
        assert_maps(
            &mapping(&["guests.fr"], None),
            &[
                ("bob@guests.fr", Some("bob")),
                ("bob@other.fr@guests.fr", None),
                ("bob%other.fr@guests.fr", None),
            ],
        );
    }

    #[test]
    fn realm_is_added_to_names_without_a_domain() {
        assert_maps(
            &mapping(&["old.univ.fr"], Some("univ.fr")),
            &[
                ("alice", Some("alice@univ.fr")),
                ("alice@old.univ.fr", Some("alice@univ.fr")),
                ("bob@x.fr", Some("bob@x.fr")),
            ],
        );
    }

    #[test]
    fn mail_user_has_at_most_80_bytes() {
        let mapping = Mapping::default();
        assert!(mapping.mail_user(&"a".repeat(80)).is_ok());
        assert!(mapping.mail_user(&"a".repeat(81)).is_err());
    }

    #[test]
    fn denied_users_are_case_insensitive() {
        let policy = UserPolicy::default();
        for name in ["cyrus", "Cyrus"] {
            let failure = policy.check_denied(name).unwrap_err();
            assert_eq!(failure.reason(), Reason::UserDenied);
        }
        assert!(policy.check_denied("cyrus@other.fr").is_ok());
        let user = Mapping::default().mail_user("cyrus@univ.fr").unwrap();
        let failure = policy.check_host_name(&user, "cyrus").unwrap_err();
        assert_eq!(failure.reason(), Reason::UserDenied);
    }
}
