//! The certificate authority of a test, and certificates good and bad.

use super::scratch::Scratch;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::PathBuf;
use std::time::SystemTime;

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` into the directory and returns their paths.
    pub fn write(&self, scratch: &Scratch, name: &str) -> (PathBuf, PathBuf) {
        (
            scratch.write(format!("{name}.pem"), &self.certificate),
            scratch.write(format!("{name}.key"), &self.key),
        )
    }
}

/// A certificate authority that nobody trusts but the test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params
            .distinguished_name
            .push(DnType::CommonName, "SSO test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            ca_pem,
        }
    }

    /// The authority's own certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Writes the authority's own certificate as `ca.pem`.
    pub fn write_ca(&self, scratch: &Scratch) -> PathBuf {
        scratch.write("ca.pem", &self.ca_pem)
    }

    /// A good certificate of localhost, 127.0.0.1 and ::1.
    pub fn server_certificate(&self) -> Identity {
        self.issue(server_params(&["localhost", "127.0.0.1", "::1"]))
    }

    /// A good certificate of another host.
    pub fn wrong_name_certificate(&self) -> Identity {
        self.issue(server_params(&["elsewhere.example"]))
    }

    /// A certificate of localhost whose time is over.
    pub fn expired_certificate(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1", "::1"]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.issue(params)
    }

    /// A certificate of localhost, good until then, to the second.
    pub fn certificate_until(&self, end: SystemTime) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1", "::1"]);
        params.not_after = end.into();
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate of localhost that no authority signed.
pub fn self_signed_certificate() -> Identity {
    let key = KeyPair::generate().expect("a key");
    let params = server_params(&["localhost", "127.0.0.1", "::1"]);
    Identity {
        certificate: params.self_signed(&key).expect("a certificate").pem(),
        key: key.serialize_pem(),
    }
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("host names");
    params
        .distinguished_name
        .push(DnType::CommonName, names[0].as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // OpenSSL of newer Pythons insists on the identifier of the signing key.
    params.use_authority_key_identifier_extension = true;
    params
}
