//! Verifies a server's certificate. If it is not trusted, the message names its issuer and the
//! trusted CAs.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::Certificate;
use super::roots::{Roots, Source};

/// The maximum number of a file's certificates that a message names.
const MAX_NAMES: usize = 5;

/// rustls' own verification and, beside it, certificates that are trusted for themselves.
#[derive(Debug)]
pub(crate) struct Verifier {
    roots: Roots,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(roots: Roots, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { roots, algorithms }
    }

    /// Why a certificate is not trusted, for the administrator.
    fn unknown(&self, end_entity: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> Untrusted {
        let Some(offered) = Certificate::from_der(end_entity) else {
            return Untrusted("it cannot be read".to_owned());
        };
        let mut what = format!(
            "the certificate is of {}, signed by {}",
            offered.subject(),
            offered.issuer()
        );
        if let Some(last) = sent.last().and_then(|last| Certificate::from_der(last)) {
            let issuer = last.issuer();
            what += &format!(
                ", and the last of the {} that it sent with it by {issuer}",
                sent.len()
            );
        }
        let pinned: Vec<_> = self
            .roots
            .pinned
            .iter()
            .filter_map(|der| Certificate::from_der(der))
            .collect();
        let mut chain = std::iter::once(end_entity).chain(sent);
        let signer = pinned.iter().find(|one| {
            !one.is_ca_for_servers()
                && chain.any(|der| {
                    Certificate::from_der(der).is_some_and(|sent| sent.is_issued_by(one))
                })
        });
        what += &match (&self.roots.source, signer) {
            (Source::File(path), Some(signer)) => format!(
                "; {} is in {}, but is no CA for servers (basicConstraints, extendedKeyUsage), and trusted for itself alone",
                signer.subject(),
                path.display()
            ),
            (Source::File(path), None) => {
                let names: Vec<String> = pinned
                    .iter()
                    .take(MAX_NAMES)
                    .map(|one| one.subject())
                    .collect();
                let more = match pinned.len() > MAX_NAMES {
                    true => format!(" and {} more", pinned.len() - MAX_NAMES),
                    false => String::new(),
                };
                let (path, names) = (path.display(), names.join(" "));
                format!("; trusted are those in {path}: {names}{more}")
            }
            (Source::System(places), _) => {
                let places: Vec<String> = places
                    .iter()
                    .map(|place| place.display().to_string())
                    .collect();
                let count = self.roots.store.len();
                format!(
                    "; none of the {count} CAs of the system signed it ({})",
                    places.join(" ")
                )
            }
        };
        Untrusted(what)
    }

    /// Whether a certificate that is trusted for itself is valid for this server now.
    fn check_pinned(
        end_entity: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let certificate = Certificate::from_der(end_entity).ok_or(CertificateError::BadEncoding)?;
        match () {
            () if certificate.has_expired(now) => Err(CertificateError::Expired),
            () if !certificate.has_begun(now) => Err(CertificateError::NotValidYet),
            () if !certificate.is_for_servers() => Err(CertificateError::InvalidPurpose),
            () => Ok(()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.roots.pinned.iter().any(|pinned| pinned == end_entity) {
            Self::check_pinned(end_entity, now)?;
        } else {
            let algorithms = self.algorithms.all;
            let store = &self.roots.store;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                store,
                intermediates,
                now,
                algorithms,
            )
            .map_err(|error| match error {
                // The CA is unknown, or has the same name as a trusted one.
                Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ) => self.unknown(end_entity, intermediates).into(),
                other => other,
            })?;
        }
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that no trusted CA has signed.
#[derive(Debug)]
pub(crate) struct Untrusted(String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

impl From<Untrusted> for Error {
    fn from(untrusted: Untrusted) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
    }
}
