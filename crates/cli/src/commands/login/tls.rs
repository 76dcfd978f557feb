//! Whom the mail server's certificate must be from, and for which name.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection};

/// All that TLS needs to know. There is no way to have it verify less.
pub(crate) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// `ca_file` replaces the system's roots.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub(crate) fn new(name: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        Ok(Self {
            config: Arc::new(sso_core::net::tls_trust::config(ca_file)?),
            name: ServerName::try_from(name.to_owned()).map_err(|_| {
                format!("{name} can be no name in a certificate; say --server-name NAME")
            })?,
        })
    }

    /// A connection before its handshake.
    pub(crate) fn connection(&self) -> Result<ClientConnection, String> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| format!("TLS is not to be had: {error}"))
    }

    /// The name that the certificate must be for.
    pub(crate) fn name(&self) -> String {
        self.name.to_str().into_owned()
    }
}

/// What is wrong with the server's TLS, and what to do about it.
pub(crate) fn explained(error: &rustls::Error) -> String {
    use CertificateError as C;
    let remedy = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            // Of our own verifier: no CA that is trusted signed it.
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
