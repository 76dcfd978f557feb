//! The way of a credential, for those that do not come to its end.

#![forbid(unsafe_code)]

use sso_core::credential::CredentialKind;
use sso_core::trace::Step;

/// The steps that lead to a login, in their order.
pub(crate) fn steps(kind: CredentialKind) -> &'static [Step] {
    match kind {
        CredentialKind::Ticket => &[
            Step::Form,
            Step::Session,
            Step::Server,
            Step::Request,
            Step::Reply,
            Step::Proxy,
            Step::UserClaim,
            Step::Principal,
            Step::MailUser,
            Step::HostName,
        ],
        CredentialKind::Token => &[
            Step::Form,
            Step::Session,
            Step::Header,
            Step::Claims,
            Step::Issuer,
            Step::Type,
            Step::Algorithm,
            Step::Keys,
            Step::Signature,
            Step::Audience,
            Step::Expiry,
            Step::NotBefore,
            Step::IssuedAt,
            Step::Purpose,
            Step::UserClaim,
            Step::Principal,
            Step::MailUser,
            Step::HostName,
        ],
    }
}
