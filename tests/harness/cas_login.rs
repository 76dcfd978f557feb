//! The login form of the CAS server.

use super::cas::{form, redirection};
use reqwest::Url;
use reqwest::blocking::{Client, Response};
use reqwest::header::REFERER;

/// Fills in the form, and returns where the CAS sends the user: back to the service, if the form is
/// shown on behalf of one.
pub fn fill_in(browser: &Client, page: Response, user: &str) -> Option<Url> {
    let here = page.url().clone();
    let html = page.text().expect("a page of the CAS server");
    let service = here.query_pairs().find(|(name, _)| name == "service");
    let reply = form(
        browser,
        here.as_str(),
        &[
            ("csrfmiddlewaretoken", &field(&html, "csrfmiddlewaretoken")),
            ("lt", &field(&html, "lt")),
            ("service", service.as_ref().map_or("", |(_, value)| value)),
            ("username", user),
            ("password", "test"),
        ],
    )
    // Django takes no form over https without it.
    .header(REFERER, here.as_str())
    .send()
    .expect("a reply of the CAS server");
    let next = redirection(&reply);
    let html = reply.text().expect("a page of the CAS server");
    assert!(
        !html.contains("name=\"password\""),
        "{user} cannot log in:\n{html}"
    );
    next
}

/// The value of a hidden field of a form.
fn field(html: &str, name: &str) -> String {
    between(html, &format!("name=\"{name}\" value=\""), "\"")
}

/// What stands between two texts.
pub fn between(text: &str, before: &str, after: &str) -> String {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(found, _)| found.to_owned())
        .unwrap_or_else(|| panic!("no {before} in\n{text}"))
}
