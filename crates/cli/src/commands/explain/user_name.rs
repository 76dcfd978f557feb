//! The mapping of the principal to the mail user, and the mail server's canonicalization of it.

#![forbid(unsafe_code)]

use sso_core::error::{Failure, Reason};
use sso_core::platform::log::{listed, quoted};
use sso_core::policy::host_names::{HostNames, VirtualDomains};
use sso_core::policy::user_mapping::{MailUser, UserPolicy};
use sso_core::trace::{Check, CheckObserver, Comparison, Step};

/// How the host canonicalizes user names, and the name that the client sends.
pub(crate) struct UserNames {
    pub(crate) host_option: HostNames,
    /// The user name that the client sends, if any.
    pub(crate) claimed: Option<String>,
}

impl UserNames {
    /// Maps `principal` to the mail user in the host's canonical form, and compares that with the
    /// name that the client sends.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`], [`Reason::UserDenied`], [`Reason::UserNotAccepted`],
    /// [`Reason::UserRewritten`] or [`Reason::UserMismatch`].
    pub(crate) fn map(
        &self,
        users: &UserPolicy,
        principal: &str,
        observer: CheckObserver<'_>,
    ) -> Result<String, Failure> {
        let mapping = &users.mapping;
        let mapped = mapping.mail_user(principal).and_then(|user| {
            users.check_denied(user.as_str())?;
            Ok(user)
        });
        let actual = mapped
            .as_ref()
            .map(|user| quoted(user.as_str()).into_owned());
        let actual = actual.unwrap_or_default();
        let user = observer.observe(Check::new(Step::MailUser, mapped, || {
            Comparison::actual(actual).expected(mapping.to_string())
        }))?;
        let named = self.host_option.canonical(user.as_str()).and_then(|name| {
            users.check_host_name(&user, &name)?;
            Ok(name)
        });
        let actual = named.as_ref().map(|name| quoted(name).into_owned());
        let actual = actual.unwrap_or_default();
        let host_name = observer.observe(Check::new(Step::HostName, named, || {
            Comparison::actual(actual).expected(self.rules(&user))
        }))?;
        let Some(claimed) = &self.claimed else {
            return Ok(host_name);
        };
        let result = mapping.mail_user(claimed).and_then(|claimed| {
            let claimed = self.host_option.canonical(claimed.as_str())?;
            if claimed == host_name {
                return Ok(host_name.clone());
            }
            let what = format!("the credential is of {host_name}, the client says {claimed}");
            Err(Failure::new(Reason::UserMismatch, what))
        });
        observer.observe(Check::new(Step::Claimed, result, || {
            Comparison::actual(quoted(claimed)).expected(quoted(&host_name))
        }))
    }

    /// The options by which the host canonicalizes names.
    fn rules(&self, user: &MailUser) -> String {
        let HostNames::Imapd(imapd) = &self.host_option else {
            return "how the host writes names is not known here".to_owned();
        };
        let lower = if imapd.lower_case { "yes" } else { "no" };
        let domain = &imapd.default_domain;
        let domains = match imapd.virtual_domains {
            VirtualDomains::Off => "virtdomains off".to_owned(),
            VirtualDomains::On if !user.as_str().contains('@') => {
                format!(
                    "virtdomains with defaultdomain {domain}; the domain of the interface may be \
                     added, and sso_host_names decides on that"
                )
            }
            VirtualDomains::UserId | VirtualDomains::On => {
                format!("virtdomains with defaultdomain {domain}")
            }
        };
        let realms = match &imapd.login_realms[..] {
            [] => String::new(),
            realms => format!(", loginrealms {}", listed(realms)),
        };
        format!("username_tolower {lower}, {domains}{realms}")
    }
}
