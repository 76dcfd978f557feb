//! Logs in to Cyrus' httpd with a bearer token.

use super::wait::PATIENCE;
use reqwest::blocking::Client;

/// A page that requires a user with an INBOX; without that, the status is 500.
const PAGE: &str = "/dav/principals/";

/// Returns the status of a request with `Authorization: Bearer TOKEN`: 401 if httpd refuses the
/// token.
pub fn status(port: u16, token: &str) -> u16 {
    let client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("cannot build the HTTP client");
    let reply = client
        .get(format!("http://127.0.0.1:{port}{PAGE}"))
        .bearer_auth(token)
        .send()
        .expect("httpd did not reply");
    reply.status().as_u16()
}
