//! Which server certificates are trusted: those signed by the CAs of a file, or by the system's.

#![forbid(unsafe_code)]

pub mod certificate;
mod roots;
mod verifier;

use std::path::Path;
use std::sync::Arc;

use nix::unistd::Uid;
use rustls::client::Resumption;
use rustls::{CertificateError, ClientConfig};

use roots::Roots;
use verifier::Verifier;

/// Creates a TLS configuration that verifies servers with the CAs of `ca_file`, or with the
/// system's if there is no file. Verification cannot be weakened.
///
/// Sessions are not resumed: that would accept the certificate of the first connection for as long
/// as the server likes.
///
/// # Errors
/// A sentence that names the problem.
pub fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = match ca_file {
        Some(path) => Roots::of_file(path, Some(Uid::effective()))?,
        None => Roots::of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    // "Dangerous" is rustls' name for any verifier that is not its own.
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS is not to be had: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(roots, algorithms)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Describes a TLS error. rustls would print the plugin's own error as a Rust value.
pub fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(untrusted)) => {
            format!("invalid peer certificate: {untrusted}")
        }
        other => other.to_string(),
    }
}

/// Checks whether `path` contains certificates that processes of `user`, if known, can trust.
///
/// # Errors
/// A sentence that names the file and the problem.
pub fn check(path: &Path, user: Option<Uid>) -> Result<(), String> {
    Roots::of_file(path, user).map(drop)
}
