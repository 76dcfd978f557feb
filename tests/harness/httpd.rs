//! What Cyrus' httpd makes of a bearer token.

use super::wait::PATIENCE;
use reqwest::blocking::Client;

/// Needs a user, and no more of that user than an INBOX; without one it is status 500.
const PAGE: &str = "/dav/principals/";

/// The status of a request with `Authorization: Bearer TOKEN`; 401 if httpd refuses the token.
pub fn status(port: u16, token: &str) -> u16 {
    let client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("an HTTP client");
    let reply = client
        .get(format!("http://127.0.0.1:{port}{PAGE}"))
        .bearer_auth(token)
        .send()
        .expect("a reply of httpd");
    reply.status().as_u16()
}
