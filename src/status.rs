//! The host's result codes of failures.

#![forbid(unsafe_code)]

use std::ffi::c_int;

use crate::ffi;
use sso_core::error::FailureKind;

/// The result code of an exchange that failed in this way. Never `SASL_NOUSER`: clients must not
/// find out which users exist.
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
    fn each_kind_of_failure_has_its_code_of_sasl_h() {
        // The numbers in sasl.h.
        assert_eq!(code(FailureKind::Malformed), -5);
        assert_eq!(code(FailureKind::Refused), -13);
        assert_eq!(code(FailureKind::NotAllowed), -14);
        assert_eq!(code(FailureKind::Unavailable), -24);
        assert_eq!(code(FailureKind::Internal), -1);
    }
}
