//! The login form of django-cas-server.

use super::cas::{form, redirection};
use reqwest::Url;
use reqwest::blocking::{Client, Response};
use reqwest::header::REFERER;

/// Submits the login form on `page`. Returns where the CAS server redirects the user: back to the
/// service, if the form was shown for one.
pub fn fill_in(browser: &Client, page: Response, user: &str) -> Option<Url> {
    let here = page.url().clone();
    let html = page.text().expect("cannot read the login page");
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
    // Django requires this header for a form over https.
    .header(REFERER, here.as_str())
    .send()
    .expect("the CAS server did not reply");
    let next = redirection(&reply);
    let html = reply.text().expect("cannot read the CAS server's reply");
    assert!(
        !html.contains("name=\"password\""),
        "{user} cannot log in:\n{html}"
    );
    next
}

/// Returns the value of a hidden form field.
fn field(html: &str, name: &str) -> String {
    between(html, &format!("name=\"{name}\" value=\""), "\"")
}

/// Returns the text between `before` and `after`.
pub fn between(text: &str, before: &str, after: &str) -> String {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .map(|(found, _)| found.to_owned())
        .unwrap_or_else(|| panic!("no {before} in\n{text}"))
}
