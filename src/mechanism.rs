//! The mechanisms that the host may be offered.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use sso_core::config::Config;
use sso_core::credential::CredentialKind;

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Caspt,
    Plain,
    OAuthBearer,
    XOAuth2,
}

impl Mechanism {
    pub(crate) const ALL: [Self; 4] = [Self::Caspt, Self::Plain, Self::OAuthBearer, Self::XOAuth2];

    /// Its name, as the host and clients write it.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Caspt => c"CASPT",
            Self::Plain => c"PLAIN",
            Self::OAuthBearer => c"OAUTHBEARER",
            Self::XOAuth2 => c"XOAUTH2",
        }
    }

    /// The same, as text.
    pub(crate) fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }

    /// The kind of credential that it is for, if for one alone.
    pub(crate) fn kind(self) -> Option<CredentialKind> {
        match self {
            Self::Caspt => Some(CredentialKind::Ticket),
            Self::Plain => None,
            Self::OAuthBearer | Self::XOAuth2 => Some(CredentialKind::Token),
        }
    }

    /// Whether there is what it takes to offer it.
    pub(crate) fn is_configured(self, config: &Config) -> bool {
        match self.kind() {
            Some(CredentialKind::Ticket) => config.cas.is_some(),
            Some(CredentialKind::Token) => config.jwt.is_some(),
            None => config.plain,
        }
    }
}
