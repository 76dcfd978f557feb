//! The fields of a certificate (RFC 5280, section 4).

#![forbid(unsafe_code)]

use rustls::pki_types::UnixTime;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::platform::log::quoted;

/// A parsed certificate.
pub(crate) struct Certificate<'d>(X509Certificate<'d>);

impl<'d> Certificate<'d> {
    /// Parses a certificate in DER.
    pub(crate) fn of(der: &'d [u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self(certificate))
    }

    /// The subject, on one line.
    pub(crate) fn subject(&self) -> String {
        quoted(&self.0.subject().to_string()).into_owned()
    }

    /// The issuer, on one line.
    pub(crate) fn issuer(&self) -> String {
        quoted(&self.0.issuer().to_string()).into_owned()
    }

    /// Whether the issuer's name is the subject of `other`.
    pub(crate) fn is_issued_by(&self, other: &Certificate<'_>) -> bool {
        self.0.issuer().as_raw() == other.0.subject().as_raw()
    }

    /// Whether the certificate may sign others. This decides as OpenSSL does (`X509_check_ca`): by
    /// basicConstraints; without that extension by keyUsage; and a self-signed certificate of
    /// version 1, which has no extensions, is a root.
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

    /// Whether extendedKeyUsage, if present, allows servers.
    pub(crate) fn is_for_servers(&self) -> bool {
        match self.0.extended_key_usage() {
            Ok(Some(usage)) => usage.value.server_auth || usage.value.any,
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Whether the certificate may sign servers' certificates: a CA whose extendedKeyUsage, if
    /// present, allows servers. OpenSSL requires that of roots too (`X509_check_purpose`); webpki
    /// checks only the certificates below them.
    pub(crate) fn is_ca_for_servers(&self) -> bool {
        self.is_ca() && self.is_for_servers()
    }

    /// Whether the validity period has ended at `now`.
    pub(crate) fn has_expired(&self, now: UnixTime) -> bool {
        self.0.validity().not_after.timestamp() < seconds(now)
    }

    /// Whether the validity period has begun at `now`.
    pub(crate) fn has_begun(&self, now: UnixTime) -> bool {
        self.0.validity().not_before.timestamp() <= seconds(now)
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
