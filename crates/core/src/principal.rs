//! The user whom a credential authenticates.

#![forbid(unsafe_code)]

use crate::error::{Failure, Reason};
use crate::platform::log::is_hidden;

/// The user name that a validated credential yields, before it is mapped to a mail user.
///
/// Only a validator and a sealed session create one, so a function that receives a `Principal` need
/// not check its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal(String);

impl Principal {
    /// The maximum length of a name, in bytes. A mail user must be shorter; a principal may have a
    /// domain that the mapping strips.
    const MAX_BYTES: usize = 255;

    /// Creates a principal from a name that an SSO server vouches for.
    ///
    /// # Errors
    /// [`Reason::UserUnusable`] if the name is empty, longer than 255 bytes, or contains white
    /// space or control characters, including NUL.
    pub(crate) fn validated(name: &str) -> Result<Self, Failure> {
        let complain = |what| Err(Failure::new(Reason::UserUnusable, what));
        if name.is_empty() {
            return complain("the user name is empty");
        }
        if name.len() > Self::MAX_BYTES {
            return complain("the user name is longer than 255 bytes");
        }
        if name.chars().any(is_hidden) {
            return complain("the user name has control characters");
        }
        if name.chars().any(char::is_whitespace) {
            return complain("the user name has white space");
        }
        Ok(Self(name.to_owned()))
    }

    /// Creates the principal of a session entry. Its seal shows that the name was checked when the
    /// entry was written.
    pub(crate) fn from_record(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_mislead_the_host_are_rejected() {
        let too_long = "a".repeat(256);
        for name in [
            "",
            "a\0b",
            "a\nb",
            "a\u{1b}b",
            "a\u{202e}b",
            "a b",
            "a\u{a0}b",
            &too_long,
        ] {
            let failure = Principal::validated(name).unwrap_err();
            assert_eq!(failure.reason(), Reason::UserUnusable, "{name:?}");
        }
        assert_eq!(
            Principal::validated("alice@univ.fr").unwrap().as_str(),
            "alice@univ.fr"
        );
    }
}
