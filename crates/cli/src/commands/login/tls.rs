//! The verification of the mail server's certificate.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

/// The trust anchors and the expected server name. Verification cannot be turned off or weakened.
pub(crate) struct TlsTrust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsTrust {
    /// `ca_file` replaces the system's trust anchors.
    ///
    /// # Errors
    /// A sentence that names the problem.
    pub(crate) fn new(name: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            config: Arc::new(sso_core::net::tls_trust::config(ca_file)?),
            name: ServerName::try_from(name.to_owned()).map_err(|_| {
                format!("{name} can be no name in a certificate; say --server-name NAME")
            })?,
        })
    }

    /// A TLS session before its handshake.
    pub(crate) fn session(&self) -> Result<ClientConnection, String> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| format!("TLS is not to be had: {error}"))
    }

    /// The name that the certificate must contain.
    pub(crate) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }
}

/// Describes a TLS error, with the remedy.
pub(crate) fn describe_error(error: &rustls::Error) -> String {
    use CertificateError as C;
    let remedy = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // Reported by `net::tls_trust`: no trusted CA signed the certificate.
            C::Other(_) => {
                "see that the file of --ca-file, if not the system, has the CA that signed it, and \
                 that the server sends the certificates in between (tls_server_cert)"
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
    format!("{}: {remedy}", sso_core::net::tls_trust::words(error))
}
