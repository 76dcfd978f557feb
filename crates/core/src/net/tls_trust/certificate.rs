//! The fields of a certificate (RFC 5280, section 4).

#![forbid(unsafe_code)]

use rustls::pki_types::UnixTime;
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::{
    COMMON_NAME, COUNTRY_NAME, LOCALITY_NAME, ORGANIZATION_NAME, ORGANIZATIONAL_UNIT_NAME, ST,
};
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;

use crate::platform::log::quoted;

/// A parsed certificate. The profile is `Raw`, because private CAs issue serial numbers that RFC 5280
/// does not allow, and webpki accepts them.
pub struct Certificate(CertificateInner<Raw>);

impl Certificate {
    /// Parses a certificate in DER.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        CertificateInner::from_der(der).ok().map(Self)
    }

    /// The subject and the issuer, as the certificate has them: not yet quoted for a log.
    pub fn names(&self) -> (String, String) {
        let certificate = self.0.tbs_certificate();
        (text(certificate.subject()), text(certificate.issuer()))
    }

    /// The subject, quoted for a line of the log.
    pub(crate) fn subject(&self) -> String {
        quoted(&self.names().0).into_owned()
    }

    /// The issuer, quoted for a line of the log.
    pub(crate) fn issuer(&self) -> String {
        quoted(&self.names().1).into_owned()
    }

    /// When the validity period ends, in seconds since 1970.
    pub fn not_after(&self) -> u64 {
        let validity = self.0.tbs_certificate().validity();
        validity.not_after.to_unix_duration().as_secs()
    }

    /// Whether the issuer's name is the subject of `other`.
    pub(crate) fn is_issued_by(&self, other: &Certificate) -> bool {
        self.0.tbs_certificate().issuer() == other.0.tbs_certificate().subject()
    }

    /// Whether the certificate may sign others. This decides as OpenSSL does (`X509_check_ca`): by
    /// basicConstraints; without that extension by keyUsage; and a self-signed certificate of
    /// version 1, which has no extensions, is a root. An extension that occurs twice or is malformed
    /// means no.
    pub(crate) fn is_ca(&self) -> bool {
        let certificate = self.0.tbs_certificate();
        let (Ok(constraints), Ok(usage)) = (
            certificate.get_extension::<BasicConstraints>(),
            certificate.get_extension::<KeyUsage>(),
        ) else {
            return false;
        };
        if usage
            .as_ref()
            .is_some_and(|(_, usage)| !usage.key_cert_sign())
        {
            return false;
        }
        match constraints {
            Some((_, constraints)) => constraints.ca,
            None => {
                let is_v1_root = certificate.version() == Version::V1 && self.is_issued_by(self);
                usage.is_some() || is_v1_root
            }
        }
    }

    /// Whether extendedKeyUsage, if present, allows servers.
    pub(crate) fn is_for_servers(&self) -> bool {
        let certificate = self.0.tbs_certificate();
        match certificate.get_extension::<ExtendedKeyUsage>() {
            Ok(Some((_, ExtendedKeyUsage(purposes)))) => purposes
                .iter()
                .any(|purpose| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(purpose)),
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
        self.not_after() < now.as_secs()
    }

    /// Whether the validity period has begun at `now`.
    pub(crate) fn has_begun(&self, now: UnixTime) -> bool {
        let validity = self.0.tbs_certificate().validity();
        validity.not_before.to_unix_duration().as_secs() <= now.as_secs()
    }
}

/// A name in the order of the certificate, such as `C=FR, O=Univ, CN=CA`. The names of the types are
/// those of RFC 4514, section 3. `Name`'s own `Display` is not used, because it links a table of all
/// known OIDs, which costs imapd 38,000 instructions of relocation at each start.
fn text(name: &Name) -> String {
    const TYPES: [(ObjectIdentifier, &str); 6] = [
        (COMMON_NAME, "CN"),
        (ORGANIZATION_NAME, "O"),
        (ORGANIZATIONAL_UNIT_NAME, "OU"),
        (LOCALITY_NAME, "L"),
        (ST, "ST"),
        (COUNTRY_NAME, "C"),
    ];
    let attributes = name.iter().map(|attribute| {
        let known = TYPES.iter().find(|(oid, _)| *oid == attribute.oid);
        let key = known.map_or_else(|| attribute.oid.to_string(), |(_, key)| (*key).to_owned());
        let value = String::from_utf8_lossy(attribute.value.value());
        format!("{key}={value}")
    });
    attributes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn subject_is_written_on_one_line() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in [
            (DnType::CountryName, "FR"),
            (DnType::CustomDnType(vec![2, 5, 4, 65]), "pseudonym"),
            (DnType::CommonName, "Root\nCA"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let subject = Certificate::from_der(signed.der()).unwrap().subject();
        // Control characters are replaced.
        let expected = r#""C=FR, 2.5.4.65=pseudonym, CN=Root?CA""#;
        assert_eq!(subject, expected);
    }
}
