//! From outcomes to libsasl2's result codes.

#![forbid(unsafe_code)]

use std::ffi::c_int;

use crate::ffi;
use sso_core::error::Kind;

/// The code that ends an exchange that failed in this way. Never
/// `SASL_NOUSER`: that a user is unknown is nobody's business.
pub(crate) fn code(kind: Kind) -> c_int {
    match kind {
        Kind::Malformed => ffi::SASL_BADPROT,
        Kind::Refused => ffi::SASL_BADAUTH,
        Kind::NotAllowed => ffi::SASL_NOAUTHZ,
        Kind::Unavailable => ffi::SASL_UNAVAIL as c_int,
        Kind::Internal => ffi::SASL_FAIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_that_the_host_understands() {
        // The numbers of sasl.h.
        assert_eq!(code(Kind::Malformed), -5);
        assert_eq!(code(Kind::Refused), -13);
        assert_eq!(code(Kind::NotAllowed), -14);
        assert_eq!(code(Kind::Unavailable), -24);
        assert_eq!(code(Kind::Internal), -1);
    }
}
