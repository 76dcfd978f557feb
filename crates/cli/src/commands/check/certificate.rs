//! The validity period of certificates.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sso_core::net::tls_trust::certificate::Certificate as Parsed;

/// How many days before its expiry a certificate is reported.
pub(crate) const EXPIRY_WARNING_DAYS: i64 = 30;

/// What is reported about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Days until expiry; negative after it.
    pub(crate) days: i64,
}

impl Certificate {
    /// Parses a DER certificate.
    pub(crate) fn from_der(der: &[u8]) -> Option<Self> {
        let parsed = Parsed::from_der(der)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let left = parsed.not_after().cast_signed() - now.as_secs().cast_signed();
        let (subject, issuer) = parsed.names();
        Some(Self {
            subject,
            issuer,
            days: left.div_euclid(24 * 3_600),
        })
    }

    /// Describes the expiry, if the certificate has expired or expires soon.
    pub(crate) fn expiry(&self) -> Option<String> {
        match self.days {
            ..0 => Some(format!("has ended {} days ago", -self.days)),
            days if days < EXPIRY_WARNING_DAYS => Some(format!("ends in {days} days")),
            _ => None,
        }
    }
}

/// The certificates in a PEM file.
pub(crate) fn in_file(path: &Path) -> Vec<Certificate> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let parsed = pem::parse_many(bytes).unwrap_or_default();
    let certificates = parsed.iter().filter(|one| one.tag() == "CERTIFICATE");
    certificates
        .filter_map(|one| Certificate::from_der(one.contents()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["cas.univ.fr".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(file.path(), format!("text around it\n{pem}{pem}")).unwrap();
        let mut found = in_file(file.path());
        assert_eq!(found.len(), 2);
        found.remove(0)
    }

    #[test]
    fn expiry_is_reported_30_days_before() {
        assert!(certificate(2000).expiry().unwrap().contains("days ago"));
        assert_eq!(certificate(3000).expiry(), None);
        let soon = Certificate {
            days: 3,
            ..certificate(3000)
        };
        assert_eq!(soon.expiry().unwrap(), "ends in 3 days");
    }
}
