//! Whom the mail server's certificate must be from, and for which name.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore};

/// All that TLS needs to know. There is no way to have it verify less.
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// `ca_file` replaces the system's roots.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(super) fn new(name: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let roots = match ca_file {
            Some(path) => of_file(path)?,
            None => of_system()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS is not to be had: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(name.to_owned()).map_err(|_| {
                format!("{name} can be no name in a certificate; say --server-name NAME")
            })?,
        })
    }

    /// A connection before its handshake.
    pub(super) fn connection(&self) -> Result<ClientConnection, String> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| format!("TLS is not to be had: {error}"))
    }

    /// The name that the certificate must be for.
    pub(super) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let complain = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let pem = std::fs::read(path).map_err(|error| complain(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| complain(&error))?;
        roots.add(certificate).map_err(|error| complain(&error))?;
    }
    match roots.is_empty() {
        false => Ok(roots),
        true => Err(complain(&"has no certificate in it")),
    }
}

fn of_system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        false => Ok(roots),
        true => Err("the system trusts no CA: install ca-certificates, or use --ca-file".into()),
    }
}

/// What is wrong with the server's TLS, and what to do about it.
pub(super) fn explained(error: &rustls::Error) -> String {
    use CertificateError as C;
    let remedy = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            C::UnknownIssuer | C::BadSignature => {
                "say --ca-file FILE with the CA that signed it, and see that the server sends \
                 the certificates in between (tls_server_cert)"
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "connect by a name that is in it, or say --server-name NAME"
            }
            C::Expired | C::ExpiredContext { .. } => "renew it (tls_server_cert)",
            _ => "see tls_server_cert",
        },
        rustls::Error::InvalidMessage(_) => {
            "the server speaks something else: is it --starttls here, or --tls?"
        }
        _ => "see the mail server's log",
    };
    format!("{error}: {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_ca_is_trusted_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let problem = || Trust::new("localhost", Some(&path)).err().unwrap();
        assert!(problem().contains("No such file"), "{}", problem());
        std::fs::write(&path, "no certificate\n").unwrap();
        assert!(
            problem().ends_with("has no certificate in it"),
            "{}",
            problem()
        );
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&path, junk).unwrap();
        assert!(
            problem().starts_with(&path.display().to_string()),
            "{}",
            problem()
        );
    }
}
