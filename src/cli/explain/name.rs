//! From the principal to the mailbox: what the mail server makes of a name.

#![forbid(unsafe_code)]

use crate::identity::{HostNames, Mapping};
use crate::log::{listed, quoted};
use crate::outcome::{Failure, Reason};
use crate::witness::{Step, Told, Witness};

/// How names are written here, and which the client uses.
pub(super) struct Names {
    pub(super) of_host: HostNames,
    /// Whether it is known how the host writes them.
    pub(super) is_of_host: bool,
    /// Who the client says it is.
    pub(super) claimed: Option<String>,
}

impl Names {
    /// The mail user of `principal`, as the host writes it, if that is who the client
    /// says it is.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`] or [`Reason::UserMismatch`].
    pub(super) fn judge(
        &self,
        mapping: &Mapping,
        principal: &str,
        witness: Witness<'_>,
    ) -> Result<String, Failure> {
        let user = mapping.mail_user(principal);
        let told = |user: Option<&String>| {
            let user = user.map(|user| quoted(user).into_owned());
            Told::found(user.unwrap_or_default()).wanted(options(mapping))
        };
        let user = witness.see(Step::MailUser, told, user)?;
        let actual = self.of_host.canonical(&user);
        witness.tell(Step::HostName, || {
            Told::found(quoted(&actual)).wanted(self.rules())
        });
        let Some(claimed) = &self.claimed else {
            return Ok(actual);
        };
        let judged = mapping.mail_user(claimed).and_then(|claimed| {
            let claimed = self.of_host.canonical(&claimed);
            if claimed == actual {
                return Ok(actual.clone());
            }
            let what = format!("the credential is of {actual}, the client says {claimed}");
            Err(Failure::new(Reason::UserMismatch, what))
        });
        let told = |_: Option<&String>| Told::found(quoted(claimed)).wanted(quoted(&actual));
        witness.see(Step::Claimed, told, judged)
    }

    /// By what the host writes names.
    fn rules(&self) -> String {
        if !self.is_of_host {
            return "how the host writes names is not known here".to_owned();
        }
        let lower = if self.of_host.lower_case { "yes" } else { "no" };
        let domain = match &self.of_host.default_domain {
            Some(domain) => format!("virtdomains with defaultdomain {domain}"),
            None => "virtdomains off".to_owned(),
        };
        format!("username_tolower {lower}, {domain}")
    }
}

/// What changes names.
fn options(mapping: &Mapping) -> String {
    let strip = match &mapping.strip_domains[..] {
        [] => "not set".to_owned(),
        domains => listed(domains),
    };
    let realm = mapping.realm.as_deref().unwrap_or("not set");
    format!("sso_strip_domain {strip}, sso_realm {realm}")
}
