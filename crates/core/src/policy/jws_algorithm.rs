//! The signature algorithms of tokens (RFC 7518, section 3.1; RFC 8037, section 3.1), and the
//! families of keys that belong to them. `none` is not one of them.

#![forbid(unsafe_code)]

use std::fmt;

/// A family of keys. A key of one family never verifies with an algorithm of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RSA keys, for PKCS #1 and PSS.
    Rsa,
    /// ECDSA keys on P-256.
    P256,
    /// ECDSA keys on P-384.
    P384,
    /// ECDSA keys on P-521.
    P521,
    /// Ed25519 keys.
    Ed25519,
    /// Shared secrets.
    Hmac,
}

/// Declares [`Algorithm`] with the name and family of each variant in one table.
macro_rules! algorithms {
    ($($name:ident $text:literal $family:ident;)+) => {
        /// A signature algorithm, by its name in the header of a token.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Algorithm {
            $($name,)+
        }

        impl Algorithm {
            /// All algorithms.
            pub const ALL: &[Algorithm] = &[$(Algorithm::$name,)+];

            /// The value of `alg` (RFC 7518).
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The family of keys for the algorithm.
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
    /// The algorithm of this name. Names are case-sensitive (RFC 7515, section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.name() == name)
    }

    /// The algorithms for keys of `family`.
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
    fn names_are_case_sensitive() {
        assert_eq!(Algorithm::from_name("RS256"), Some(Algorithm::Rs256));
        assert_eq!(Algorithm::from_name("EdDSA"), Some(Algorithm::EdDsa));
        for name in ["none", "None", "NONE", "", "rs256", "RS256 ", "RS257"] {
            assert_eq!(Algorithm::from_name(name), None, "{name:?}");
        }
    }
}
