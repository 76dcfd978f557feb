//! The keys that tokens are verified with: their forms, and where they come from.

pub(crate) mod file_source;
pub(crate) mod inspect;
pub(crate) mod jwk_set;
pub(crate) mod key_set;
pub(crate) mod pem;
pub(crate) mod remote_source;
pub(crate) mod shared_jwks;
pub(crate) mod verification_key;
