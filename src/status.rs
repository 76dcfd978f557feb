//! From outcomes to libsasl2's result codes.

#![forbid(unsafe_code)]

use std::ffi::c_int;

use crate::ffi;
use sso_core::error::FailureKind;

/// The code that ends an exchange that failed in this way. Never
/// `SASL_NOUSER`: that a user is unknown is nobody's business.
pub(crate) fn code(kind: FailureKind) -> c_int {
    match kind {
        FailureKind::Malformed => ffi::SASL_BADPROT,
        FailureKind::Refused => ffi::SASL_BADAUTH,
        FailureKind::NotAllowed => ffi::SASL_NOAUTHZ,
        FailureKind::Unavailable => ffi::SASL_UNAVAIL as c_int,
        FailureKind::Internal => ffi::SASL_FAIL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_that_the_host_understands() {
        // The numbers of sasl.h.
        assert_eq!(code(FailureKind::Malformed), -5);
        assert_eq!(code(FailureKind::Refused), -13);
        assert_eq!(code(FailureKind::NotAllowed), -14);
        assert_eq!(code(FailureKind::Unavailable), -24);
        assert_eq!(code(FailureKind::Internal), -1);
    }
}
