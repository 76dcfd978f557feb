//! The signature algorithms of tokens (RFC 7518, section 3.1; RFC 8037, section
//! 3.1) and the kinds of keys that go with them. `none` is not among them.

#![forbid(unsafe_code)]

use std::fmt;

/// What a key can be used for: a key of one family never verifies by an
/// algorithm of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RSA, by PKCS #1 or PSS.
    Rsa,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// A shared secret.
    Hmac,
}

/// Declares [`Algorithm`] with name and family in one table.
macro_rules! algorithms {
    ($($name:ident $text:literal $family:ident;)+) => {
        /// A signature algorithm, by its name in a token's header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Algorithm {
            $($name,)+
        }

        impl Algorithm {
            /// Every algorithm there is.
            pub const ALL: &[Algorithm] = &[$(Algorithm::$name,)+];

            /// The `alg` of RFC 7518.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The keys that it works with.
            pub fn family(self) -> Family {
                match self { $(Self::$name => Family::$family,)+ }
            }
        }
    };
}

algorithms! {
    Rs256 "RS256" Rsa;
    Rs384 "RS384" Rsa;
    Rs512 "RS512" Rsa;
    Ps256 "PS256" Rsa;
    Ps384 "PS384" Rsa;
    Ps512 "PS512" Rsa;
    Es256 "ES256" P256;
    Es384 "ES384" P384;
    Es512 "ES512" P521;
    EdDsa "EdDSA" Ed25519;
    Hs256 "HS256" Hmac;
    Hs384 "HS384" Hmac;
    Hs512 "HS512" Hmac;
}

impl Algorithm {
    /// The algorithm of this name, which is case-sensitive (RFC 7515, section
    /// 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The algorithms that keys of `family` can be used with.
    pub fn of_family(family: Family) -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .copied()
            .filter(move |algorithm| algorithm.family() == family)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_to_the_letter() {
        assert_eq!(Algorithm::from_name("RS256"), Some(Algorithm::Rs256));
        assert_eq!(Algorithm::from_name("EdDSA"), Some(Algorithm::EdDsa));
        for name in ["none", "None", "NONE", "", "rs256", "RS256 ", "RS257"] {
            assert_eq!(Algorithm::from_name(name), None, "{name:?}");
        }
    }
}
