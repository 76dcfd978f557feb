//! What a browser and a webmail do to get tokens: the authorization code flow with PKCE.

use super::base64;
use super::cas::{address, form, redirection};
use super::oidc::CLIENT;
use aws_lc_rs::digest::{SHA256, digest};
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;

/// Nobody is there: the code is taken from the redirection to it.
const CALLBACK: &str = "https://webmail.example/callback";
/// Of PKCE (RFC 7636). Nobody is on the way who could guess it.
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
/// The login and the consent, and a redirection before and after each.
const STEPS: usize = 8;

/// What the issuer hands out for a code.
pub struct Tokens {
    /// For the mail server.
    pub access_token: String,
    /// For the webmail.
    pub id_token: String,
}

/// Logs the user in to [`CLIENT`] and gets tokens for the resource.
pub fn log_in(browser: &Client, issuer: &str, user: &str, scope: &str, resource: &str) -> Tokens {
    let code = code(browser, issuer, user, scope, resource);
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("redirect_uri", CALLBACK),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("resource", resource),
    ];
    let reply = json(form(browser, &format!("{issuer}/token"), &fields));
    Tokens {
        access_token: member(&reply, "access_token"),
        id_token: member(&reply, "id_token"),
    }
}

/// Gets a token with the scope `imap` for a client's own purposes.
pub fn client_token(
    browser: &Client,
    issuer: &str,
    (client, secret): (&str, &str),
    resource: &str,
) -> String {
    let fields = [
        ("grant_type", "client_credentials"),
        ("scope", "imap"),
        ("resource", resource),
    ];
    let request = form(browser, &format!("{issuer}/token"), &fields);
    let reply = json(request.basic_auth(client, Some(secret)));
    member(&reply, "access_token")
}

fn code(browser: &Client, issuer: &str, user: &str, scope: &str, resource: &str) -> String {
    let challenge = base64::encode_url(digest(&SHA256, VERIFIER.as_bytes()).as_ref());
    let scope = format!("openid {scope}");
    let start = address(
        &format!("{issuer}/auth"),
        &[
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", CALLBACK),
            ("scope", scope.trim_end()),
            ("resource", resource),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ],
    );
    let mut reply = send(browser.get(start));
    for _ in 0..STEPS {
        let Some(next) = redirection(&reply) else {
            reply = send(fill_in(browser, reply, user));
            continue;
        };
        if next.as_str().starts_with(CALLBACK) {
            let code = next.query_pairs().find(|(name, _)| name == "code");
            let (_, code) = code.unwrap_or_else(|| panic!("no code in {next}"));
            return code.into_owned();
        }
        reply = send(browser.get(next));
    }
    panic!("the login of {user} has no end: {}", reply.url());
}

/// Answers the page that asks for a login, any, or for the consent to what the client wants.
fn fill_in(browser: &Client, page: Response, user: &str) -> RequestBuilder {
    let here = page.url().to_string();
    let html = page.text().expect("a page of the issuer");
    let asks_for = |prompt: &str| html.contains(&format!("name=\"prompt\" value=\"{prompt}\""));
    let login = [("prompt", "login"), ("login", user), ("password", "any")];
    if asks_for("login") {
        form(browser, &here, &login)
    } else if asks_for("consent") {
        form(browser, &here, &[("prompt", "consent")])
    } else {
        panic!("{here} is neither a login nor a consent:\n{html}");
    }
}

fn json(request: RequestBuilder) -> Value {
    let text = send(request).text().expect("an answer of the issuer");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn member(reply: &Value, name: &str) -> String {
    let value = reply[name].as_str().map(str::to_owned);
    value.unwrap_or_else(|| panic!("no {name} in {reply}"))
}

fn send(request: RequestBuilder) -> Response {
    request.send().expect("an answer of the issuer")
}
