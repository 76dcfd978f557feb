//! What a certificate says of itself (RFC 5280, section 4).

#![forbid(unsafe_code)]

use rustls::pki_types::UnixTime;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::platform::log::quoted;

/// A certificate that was read.
pub(crate) struct Certificate<'d>(X509Certificate<'d>);

impl<'d> Certificate<'d> {
    /// Reads a certificate in DER.
    pub(crate) fn of(der: &'d [u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self(certificate))
    }

    /// Whose it is, on one line.
    pub(crate) fn subject(&self) -> String {
        quoted(&self.0.subject().to_string()).into_owned()
    }

    /// Who says that it signed it, on one line.
    pub(crate) fn issuer(&self) -> String {
        quoted(&self.0.issuer().to_string()).into_owned()
    }

    /// Whether it says that it was signed by what is called like `other`.
    pub(crate) fn is_issued_by(&self, other: &Certificate<'_>) -> bool {
        self.0.issuer().as_raw() == other.0.subject().as_raw()
    }

    /// Whether others may be signed by it. This decides as OpenSSL does (`X509_check_ca`):
    /// by basicConstraints; without these by keyUsage; and a self-signed certificate of
    /// version 1, which has no extensions to say it by, is a root of the time before them.
    pub(crate) fn is_ca(&self) -> bool {
        let certificate = &self.0;
        let (Ok(constraints), Ok(usage)) =
            (certificate.basic_constraints(), certificate.key_usage())
        else {
            return false;
        };
        if usage
            .as_ref()
            .is_some_and(|usage| !usage.value.key_cert_sign())
        {
            return false;
        }
        match constraints {
            Some(constraints) => constraints.value.ca,
            None => {
                let is_v1_root =
                    certificate.version() == X509Version::V1 && self.is_issued_by(self);
                usage.is_some() || is_v1_root
            }
        }
    }

    /// Whether a server may have it: extendedKeyUsage, if it is there, says so.
    pub(crate) fn is_for_servers(&self) -> bool {
        match self.0.extended_key_usage() {
            Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// When its time is over, in seconds of Unix time.
    pub(crate) fn is_over(&self, now: UnixTime) -> bool {
        self.0.validity().not_after.timestamp() < seconds(now)
    }

    /// Whether its time has begun.
    pub(crate) fn has_begun(&self, now: UnixTime) -> bool {
        self.0.validity().not_before.timestamp() <= seconds(now)
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
