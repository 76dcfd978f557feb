//! The certificate authority of a test, and valid and invalid server certificates.

use super::scratch::Scratch;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::PathBuf;
use std::time::SystemTime;

/// A certificate and its private key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM.
    pub key: String,
}

impl Identity {
    /// Writes `NAME.pem` and `NAME.key` to the scratch directory and returns their paths.
    pub fn write(&self, scratch: &Scratch, name: &str) -> (PathBuf, PathBuf) {
        (
            scratch.write(format!("{name}.pem"), &self.certificate),
            scratch.write(format!("{name}.key"), &self.key),
        )
    }
}

/// A certificate authority that only the test trusts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

impl Authority {
    /// Generates a new CA.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("cannot generate a key");
        let mut params =
            CertificateParams::new(Vec::new()).expect("cannot create certificate parameters");
        params
            .distinguished_name
            .push(DnType::CommonName, "SSO test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params
            .self_signed(&key)
            .expect("cannot sign the certificate")
            .pem();
        Self {
            issuer: Issuer::new(params, key),
            ca_pem,
        }
    }

    /// Returns the certificate of the CA.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Writes the certificate of the CA as `ca.pem`.
    pub fn write_ca(&self, scratch: &Scratch) -> PathBuf {
        scratch.write("ca.pem", &self.ca_pem)
    }

    /// Issues a valid certificate for localhost, 127.0.0.1 and ::1.
    pub fn server_certificate(&self) -> Identity {
        self.issue(server_params(&["localhost", "127.0.0.1", "::1"]))
    }

    /// Issues a valid certificate for another host name.
    pub fn wrong_name_certificate(&self) -> Identity {
        self.issue(server_params(&["elsewhere.example"]))
    }

    /// Issues an expired certificate for localhost.
    pub fn expired_certificate(&self) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1", "::1"]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.issue(params)
    }

    /// Issues a certificate for localhost that expires at `end`, with a resolution of one second.
    pub fn certificate_until(&self, end: SystemTime) -> Identity {
        let mut params = server_params(&["localhost", "127.0.0.1", "::1"]);
        params.not_after = end.into();
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("cannot generate a key");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("cannot sign the certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Creates a self-signed certificate for localhost.
pub fn self_signed_certificate() -> Identity {
    let key = KeyPair::generate().expect("cannot generate a key");
    let params = server_params(&["localhost", "127.0.0.1", "::1"]);
    Identity {
        certificate: params
            .self_signed(&key)
            .expect("cannot sign the certificate")
            .pem(),
        key: key.serialize_pem(),
    }
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("a host name is invalid");
    params
        .distinguished_name
        .push(DnType::CommonName, names[0].as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // OpenSSL in newer versions of Python requires an authority key identifier.
    params.use_authority_key_identifier_extension = true;
    params
}
