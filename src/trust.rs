//! Whom a server's certificate must be from: the CAs of a file, or the system's.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::rights;

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
        Some(path) => of_file(path)?,
        None => of_system()?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS is not to be had: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whether `path` holds CAs that could be trusted.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn check(path: &Path) -> Result<(), String> {
    of_file(path).map(drop)
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let complain = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    // Anything else than a file, such as a pipe, could be waited for for ever.
    let metadata = std::fs::metadata(path).map_err(|error| complain(&error))?;
    if !metadata.is_file() {
        return Err(complain(&"is not a file"));
    }
    rights::check_unwritable(path, &metadata)?;
    rights::check_irreplaceable(path)?;
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
        true => {
            let remedy = "install ca-certificates, or name a file of CAs";
            Err(format!("the system trusts no CA: {remedy}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_without_a_ca_is_trusted_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let problem = || check(&path).unwrap_err();
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

    #[test]
    fn a_ca_file_that_everybody_may_write_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, "no certificate\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o646)).unwrap();
        let problem = check(&path).unwrap_err();
        assert!(problem.starts_with("everybody may write "), "{problem}");
    }

    #[test]
    fn a_ca_file_that_could_be_waited_for_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("ca.pem");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(check(&pipe).unwrap_err().ends_with("is not a file"));
    }
}
