//! The mechanisms that the host may be offered.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::config::Config;

/// A mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Caspt,
    OAuthBearer,
    XOAuth2,
}

impl Mechanism {
    /// In the order of the host's table: those that are configured are always
    /// next to one another.
    pub(super) const ALL: [Self; 3] = [Self::Caspt, Self::OAuthBearer, Self::XOAuth2];

    /// Its name, as the host and clients write it.
    pub(super) const fn name(self) -> &'static CStr {
        match self {
            Self::Caspt => c"CASPT",
            Self::OAuthBearer => c"OAUTHBEARER",
            Self::XOAuth2 => c"XOAUTH2",
        }
    }

    /// The same, as text.
    pub(super) fn text(self) -> &'static str {
        self.name().to_str().unwrap_or_default()
    }

    /// Whether there is what it takes to offer it.
    pub(super) fn is_configured(self, config: &Config) -> bool {
        match self {
            Self::Caspt => config.cas.is_some(),
            Self::OAuthBearer | Self::XOAuth2 => config.jwt.is_some(),
        }
    }
}
