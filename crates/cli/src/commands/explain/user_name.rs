//! From the principal to the mailbox: what the mail server makes of a name.

#![forbid(unsafe_code)]

use sso_core::error::{Failure, Reason};
use sso_core::platform::log::{listed, quoted};
use sso_core::policy::host_names::{HostNames, VirtualDomains};
use sso_core::policy::user_mapping::{MailUser, UserPolicy};
use sso_core::trace::{Step, Told, Witness};

/// How names are written here, and which the client uses.
pub(crate) struct Names {
    pub(crate) of_host: HostNames,
    /// Who the client says it is.
    pub(crate) claimed: Option<String>,
}

impl Names {
    /// The mail user of `principal`, as the host writes it, if that is who the client
    /// says it is.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`], [`Reason::UserDenied`], [`Reason::UserNotAccepted`],
    /// [`Reason::UserRewritten`] or [`Reason::UserMismatch`].
    pub(crate) fn judge(
        &self,
        users: &UserPolicy,
        principal: &str,
        witness: Witness<'_>,
    ) -> Result<String, Failure> {
        let mapping = &users.mapping;
        let mapped = mapping.mail_user(principal).and_then(|user| {
            users.check_denied(user.as_str())?;
            Ok(user)
        });
        let told = |user: Option<&MailUser>| {
            let user = user.map(|user| quoted(user.as_str()).into_owned());
            Told::found(user.unwrap_or_default()).wanted(mapping.to_string())
        };
        let user = witness.see(Step::MailUser, told, mapped)?;
        let named = self.of_host.canonical(user.as_str()).and_then(|name| {
            users.check_host_name(&user, &name)?;
            Ok(name)
        });
        let told = |name: Option<&String>| {
            let name = name.map(|name| quoted(name).into_owned());
            Told::found(name.unwrap_or_default()).wanted(self.rules(&user))
        };
        let actual = witness.see(Step::HostName, told, named)?;
        let Some(claimed) = &self.claimed else {
            return Ok(actual);
        };
        let judged = mapping.mail_user(claimed).and_then(|claimed| {
            let claimed = self.of_host.canonical(claimed.as_str())?;
            if claimed == actual {
                return Ok(actual.clone());
            }
            let what = format!("the credential is of {actual}, the client says {claimed}");
            Err(Failure::new(Reason::UserMismatch, what))
        });
        let told = |_: Option<&String>| Told::found(quoted(claimed)).wanted(quoted(&actual));
        witness.see(Step::Claimed, told, judged)
    }

    /// The options by which the host canonicalizes names.
    fn rules(&self, user: &MailUser) -> String {
        let HostNames::Imapd(imapd) = &self.of_host else {
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
