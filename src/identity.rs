//! From the names of the SSO world to the names of mail users.

#![forbid(unsafe_code)]

use crate::outcome::{Failure, Reason};

/// `sso_strip_domain` and `sso_realm`: what is cut off a name, then what is
/// added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Domains, in lower case, that are cut off `user@domain`.
    pub strip_domains: Vec<String>,
    /// The realm that is added to a name without one.
    pub realm: Option<String>,
}

impl Mapping {
    /// The longest name of a mail user, in bytes: what Cyrus imapd takes.
    const LONGEST: usize = 80;

    /// The mail user that goes by `name` in the SSO world.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`] if nothing is left of the name, or more than 80
    /// bytes.
    pub fn mail_user(&self, name: &str) -> Result<String, Failure> {
        let mut user = match name.rsplit_once('@') {
            Some((local, domain)) if self.strips(domain) => local.to_owned(),
            _ => name.to_owned(),
        };
        if let Some(realm) = &self.realm
            && !user.contains('@')
            && !user.is_empty()
        {
            user = format!("{user}@{realm}");
        }
        if user.is_empty() {
            return Err(Failure::new(
                Reason::UserUnusable,
                "nothing is left of the user name without its domain",
            ));
        }
        if user.len() > Self::LONGEST {
            return Err(Failure::new(
                Reason::UserUnusable,
                "the mail user's name is longer than 80 bytes",
            ));
        }
        Ok(user)
    }

    fn strips(&self, domain: &str) -> bool {
        self.strip_domains
            .iter()
            .any(|stripped| stripped.eq_ignore_ascii_case(domain))
    }
}

/// How Cyrus imapd writes the names of its users, for whoever has to compare one
/// that imapd has written with one that it has not (imapd.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames {
    /// `username_tolower`.
    pub lower_case: bool,
    /// `defaultdomain`, if `virtdomains` is on: it is left out.
    pub default_domain: Option<String>,
}

impl HostNames {
    /// `user` as imapd writes it.
    pub fn canonical(&self, user: &str) -> String {
        let user = match (user.rsplit_once('@'), &self.default_domain) {
            (Some((local, domain)), Some(default)) if domain.eq_ignore_ascii_case(default) => local,
            _ => user,
        };
        if self.lower_case {
            user.to_ascii_lowercase()
        } else {
            user.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_one_only_where_they_are_to_imapd() {
        let plain = HostNames::default();
        assert_eq!(plain.canonical("Alice@univ.fr"), "Alice@univ.fr");
        let imapd = HostNames {
            lower_case: true,
            default_domain: Some("univ.fr".to_owned()),
        };
        assert_eq!(imapd.canonical("Alice@Univ.FR"), "alice");
        assert_eq!(imapd.canonical("alice@other.fr"), "alice@other.fr");
    }

    fn mapping(strip: &[&str], realm: Option<&str>) -> Mapping {
        Mapping {
            strip_domains: strip.iter().map(|s| (*s).to_owned()).collect(),
            realm: realm.map(str::to_owned),
        }
    }

    #[test]
    fn without_options_a_name_stays_as_it_is() {
        let mapping = Mapping::default();
        assert_eq!(mapping.mail_user("alice").unwrap(), "alice");
        assert_eq!(mapping.mail_user("a@b@univ.fr").unwrap(), "a@b@univ.fr");
    }

    #[test]
    fn only_the_domains_named_are_stripped() {
        let mapping = mapping(&["univ.fr"], None);
        assert_eq!(mapping.mail_user("alice@Univ.FR").unwrap(), "alice");
        assert_eq!(
            mapping.mail_user("alice@evil.example").unwrap(),
            "alice@evil.example"
        );
        assert_eq!(
            mapping.mail_user("alice@sub.univ.fr").unwrap(),
            "alice@sub.univ.fr"
        );
        assert!(mapping.mail_user("@univ.fr").is_err());
    }

    #[test]
    fn the_realm_is_added_where_there_is_none() {
        let mapping = mapping(&["old.univ.fr"], Some("univ.fr"));
        assert_eq!(mapping.mail_user("alice").unwrap(), "alice@univ.fr");
        assert_eq!(
            mapping.mail_user("alice@old.univ.fr").unwrap(),
            "alice@univ.fr"
        );
        assert_eq!(mapping.mail_user("bob@x.fr").unwrap(), "bob@x.fr");
    }

    #[test]
    fn a_mail_user_has_at_most_80_bytes() {
        let mapping = Mapping::default();
        assert!(mapping.mail_user(&"a".repeat(80)).is_ok());
        assert!(mapping.mail_user(&"a".repeat(81)).is_err());
    }
}
