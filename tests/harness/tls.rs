//! TLS for the servers and clients of the tests.

use super::authority::Identity;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use std::net::TcpStream;
use std::sync::Arc;

/// A stream whose other end knows the certificate authority of the test.
pub type ClientStream = StreamOwned<ClientConnection, TcpStream>;
/// A stream of one of the test's servers.
pub type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// A server's configuration.
pub fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let certificate =
        CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a private key");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate with its key");
    Arc::new(config)
}

/// The server's end of a connection; the handshake happens with the first read.
pub fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> ServerStream {
    let connection = ServerConnection::new(Arc::clone(config)).expect("a TLS connection");
    StreamOwned::new(connection, stream)
}

/// The client's end of a connection to localhost, trusting `ca_pem` alone.
pub fn connect(ca_pem: &str, stream: TcpStream) -> ClientStream {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate"))
        .expect("an authority's certificate");
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a host name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a TLS connection");
    StreamOwned::new(connection, stream)
}

/// Named, because another dependency may bring a second one, and rustls then refuses to choose.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
