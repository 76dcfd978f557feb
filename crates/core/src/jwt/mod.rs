//! Access tokens that are JWTs (RFC 7519): parsing, the issuers' keys, and what is required of a
//! token.
//!
//! - `validator` takes a token through all steps; `validation` lists what is required of it.
//! - `jws` and `json` parse a token, `claims` reads its payload.
//! - `keys` finds and parses the issuers' keys, and verifies signatures with them.

#![forbid(unsafe_code)]

pub(crate) mod claims;
pub(crate) mod json;
pub(crate) mod jws;
pub(crate) mod keys;
mod validation;
mod validator;

pub use keys::file_source::key_files;
pub use keys::inspect::{
    KeyReport, SetReport, check_keys, contains_a_secret, inspect_published, rsa_moduli, rsa_modulus,
};
pub use validator::JwtValidator;
