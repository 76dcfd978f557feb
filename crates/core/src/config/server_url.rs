//! URLs of SSO servers.

#![forbid(unsafe_code)]

use std::net::IpAddr;

use url::{Host, Url};

/// Parses the URL of a server: it must use https, or http on this host.
///
/// # Errors
/// The problem, in words that follow the URL.
pub(crate) fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("would be asked in clear text; write https".to_owned()),
        _ => return Err("is not an https URL".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or a password in it; leave them out".to_owned());
    }
    Ok(url)
}

/// Parses a URL to which paths are appended, and removes the slash at its end.
///
/// # Errors
/// As [`server_url`].
pub(crate) fn base_url(text: &str) -> Result<Url, String> {
    let mut url = server_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment; give the base URL alone".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
