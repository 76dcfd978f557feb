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

/// The client side of a TLS connection.
pub type ClientStream = StreamOwned<ClientConnection, TcpStream>;
/// The server side of a TLS connection.
pub type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// Builds the TLS configuration of a server.
pub fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .expect("the certificate is invalid");
    let key =
        PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("the private key is invalid");
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider supports no TLS version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the certificate and the key do not match");
    Arc::new(config)
}

/// Wraps the server side of a connection. The first read performs the handshake.
pub fn accept(config: &Arc<ServerConfig>, stream: TcpStream) -> ServerStream {
    let connection =
        ServerConnection::new(Arc::clone(config)).expect("cannot create the TLS connection");
    StreamOwned::new(connection, stream)
}

/// Wraps the client side of a connection to localhost, with `ca_pem` as the only trust anchor.
pub fn connect(ca_pem: &str, stream: TcpStream) -> ClientStream {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("the certificate is invalid"))
        .expect("the CA certificate is invalid");
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider supports no TLS version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("the host name is invalid");
    let connection =
        ClientConnection::new(Arc::new(config), name).expect("cannot create the TLS connection");
    StreamOwned::new(connection, stream)
}

/// Returns the provider explicitly: rustls does not choose one if a dependency enables a second.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
