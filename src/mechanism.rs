//! The SASL mechanisms of the plugin.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use sso_core::config::Config;
use sso_core::credential::CredentialKind;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Caspt,
    Plain,
    OAuthBearer,
    XOAuth2,
}

impl Mechanism {
    pub(crate) const ALL: [Self; 4] = [Self::Caspt, Self::Plain, Self::OAuthBearer, Self::XOAuth2];

    /// The name in the SASL protocol, for C.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::Caspt => c"CASPT",
            Self::Plain => c"PLAIN",
            Self::OAuthBearer => c"OAUTHBEARER",
            Self::XOAuth2 => c"XOAUTH2",
        }
    }

    /// The name in the SASL protocol.
    pub(crate) fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }

    /// The kind of credential that the mechanism carries; `None` if it carries both.
    pub(crate) fn kind(self) -> Option<CredentialKind> {
        match self {
            Self::Caspt => Some(CredentialKind::Ticket),
            Self::Plain => None,
            Self::OAuthBearer | Self::XOAuth2 => Some(CredentialKind::Token),
        }
    }

    /// Whether the options that the mechanism needs are set.
    pub(crate) fn is_configured(self, config: &Config) -> bool {
        match self.kind() {
            Some(CredentialKind::Ticket) => config.cas.is_some(),
            Some(CredentialKind::Token) => config.jwt.is_some(),
            None => config.plain,
        }
    }
}
