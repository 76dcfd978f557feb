//! Until when certificates are good.

#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, X509Certificate};

/// So many days before its end a certificate is spoken of.
pub(crate) const SOON: i64 = 30;

/// What there is to say of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// How many days it is still good; less than 0 if it is over.
    pub(crate) days: i64,
}

impl Certificate {
    /// Of a certificate in DER.
    pub(crate) fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let now = i64::try_from(now.as_secs()).ok()?;
        let left = parsed.validity().not_after.timestamp() - now;
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            days: left.div_euclid(24 * 3_600),
        })
    }

    /// When it ends, if that is soon.
    pub(crate) fn end(&self) -> Option<String> {
        match self.days {
            ..0 => Some(format!("has ended {} days ago", -self.days)),
            days if days < SOON => Some(format!("ends in {days} days")),
            _ => None,
        }
    }
}

/// The certificates of a PEM file.
pub(crate) fn in_file(path: &Path) -> Vec<Certificate> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let parsed = pem::parse_many(bytes).unwrap_or_default();
    let certificates = parsed.iter().filter(|one| one.tag() == "CERTIFICATE");
    certificates
        .filter_map(|one| Certificate::of(one.contents()))
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
    fn the_end_of_a_certificate_is_seen_before_it_comes() {
        assert!(certificate(2000).end().unwrap().contains("days ago"));
        assert_eq!(certificate(3000).end(), None);
        let soon = Certificate {
            days: 3,
            ..certificate(3000)
        };
        assert_eq!(soon.end().unwrap(), "ends in 3 days");
    }
}
