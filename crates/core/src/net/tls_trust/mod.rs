//! Whom a server's certificate must be from: the CAs of a file, or the system's.

#![forbid(unsafe_code)]

mod certificate;
mod roots;
mod verifier;

use std::path::Path;
use std::sync::Arc;

use nix::unistd::Uid;
use rustls::client::Resumption;
use rustls::{CertificateError, ClientConfig};

use roots::Roots;
use verifier::Verifier;

/// TLS that verifies, by the CAs of `ca_file` in the place of the system's. There is
/// no way to have it verify less.
///
/// No session is resumed: that would be to believe for as long as the server likes
/// what its certificate said at the first connection.
///
/// # Errors
/// A sentence that names what is wrong.
pub fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = match ca_file {
        Some(path) => Roots::of_file(path, Some(Uid::effective()))?,
        None => Roots::of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    // "Dangerous" is rustls' word for any verifier that is not its own.
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS is not to be had: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(roots, algorithms)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What is wrong with a server's TLS, in words: rustls would print our own error as a
/// value of Rust's.
pub fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(untrusted)) => {
            format!("invalid peer certificate: {untrusted}")
        }
        other => other.to_string(),
    }
}

/// Whether `path` holds certificates that could be trusted by processes of `user`, if it is
/// known who that is.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn check(path: &Path, user: Option<Uid>) -> Result<(), String> {
    Roots::of_file(path, user).map(drop)
}
