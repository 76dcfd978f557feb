//! Requests to SSO servers, and the verification of their certificates.

pub mod http_client;
pub mod tls_trust;
