//! Obtains tokens as a browser and a webmail do: by the authorization code flow with PKCE.

use super::base64;
use super::cas::{address, form, redirection};
use super::oidc::CLIENT;
use aws_lc_rs::digest::{SHA256, digest};
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;

/// The redirection URI. No server runs there; the code is taken from the redirection.
const CALLBACK: &str = "https://webmail.example/callback";
/// The code verifier of PKCE (RFC 7636). A fixed one suffices here, because nobody intercepts the
/// code.
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";
/// Maximum number of pages and redirections of a login: two pages, and a redirection before and
/// after each.
const MAX_STEPS: usize = 8;

/// The issuer's response to a code.
pub struct Tokens {
    /// The token for the mail server.
    pub access_token: String,
    /// The token for the webmail.
    pub id_token: String,
}

/// Logs the user in to [`CLIENT`] and returns tokens for the resource.
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

/// Obtains a token with the scope `imap` by the client credentials grant.
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
    for _ in 0..MAX_STEPS {
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
    panic!(
        "the login of {user} takes too many steps, the last at {}",
        reply.url()
    );
}

/// Submits the login page, with any password, or the consent page.
fn fill_in(browser: &Client, page: Response, user: &str) -> RequestBuilder {
    let here = page.url().to_string();
    let html = page.text().expect("cannot read the issuer's page");
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
    let text = send(request)
        .text()
        .expect("cannot read the issuer's reply");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn member(reply: &Value, name: &str) -> String {
    let value = reply[name].as_str().map(str::to_owned);
    value.unwrap_or_else(|| panic!("no {name} in {reply}"))
}

fn send(request: RequestBuilder) -> Response {
    request.send().expect("the issuer did not reply")
}
