//! A mock issuer that publishes keys and whose behaviour a test sets.
//!
//! It does not issue tokens: a test signs them with the keys of `mint.rs`.

use super::authority::{Authority, Identity};
use super::behaviour::{self, Service, State};
use super::http::{self, Request};
use super::https_server::{Server, lock};
use serde_json::{Value, json};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use super::behaviour::Behaviour;

/// The path of the discovery document below the issuer (OpenID Connect Discovery 1.0, section 4).
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// The path of the key set.
pub const JWKS: &str = "/jwks";

/// A running mock issuer. It starts as a correct issuer without keys.
pub struct KeyServer {
    server: Server,
    state: Arc<Mutex<State<Documents>>>,
}

struct Documents {
    discovery: String,
    keys: String,
}

impl KeyServer {
    /// Starts an https server with a valid certificate.
    pub fn start(authority: &Authority) -> Self {
        Self::start_with(Some(&authority.server_certificate()))
    }

    /// Starts an https server with this certificate, or an http server.
    pub fn start_with(identity: Option<&Identity>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), identity)
    }

    /// Like [`KeyServer::start_with`], but listens on this address alone.
    pub fn start_at(address: IpAddr, identity: Option<&Identity>) -> Self {
        let state = Arc::new(Mutex::new(State::new(Documents {
            discovery: String::new(),
            keys: json!({"keys": []}).to_string(),
        })));
        let server = Self {
            server: behaviour::serve(address, identity, &state),
            state,
        };
        server.set_discovery(server.discovery());
        server
    }

    /// Returns the issuer identifier, such as `https://localhost:12345`.
    pub fn issuer(&self) -> String {
        self.server.origin()
    }

    /// Returns the URL of the key set.
    pub fn jwks_uri(&self) -> String {
        format!("{}{JWKS}", self.issuer())
    }

    /// Returns the discovery document of a correct issuer, which a test can change.
    pub fn discovery(&self) -> Value {
        let issuer = self.issuer();
        json!({
            "issuer": issuer,
            "jwks_uri": self.jwks_uri(),
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
    }

    /// Replaces the discovery document with JSON or any other text. It is served at [`DISCOVERY`]
    /// below any path, for an issuer with a path.
    pub fn set_discovery(&self, document: impl Display) {
        lock(&self.state).service.discovery = document.to_string();
    }

    /// Publishes exactly these keys, JWKs as returned by `SigningKey::jwk`.
    pub fn set_keys(&self, keys: &[Value]) {
        self.set_jwks(json!({"keys": keys}));
    }

    /// Replaces the key set with JSON or any other text.
    pub fn set_jwks(&self, document: impl Display) {
        lock(&self.state).service.keys = document.to_string();
    }

    /// Sets the behaviour for new connections. Connections that hang continue to hang.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Sets the behaviour for complete requests with this path.
    pub fn set_at(&self, path: &str, behaviour: Behaviour) {
        let mut state = lock(&self.state);
        state.behaviour_at.insert(path.to_owned(), behaviour);
    }

    /// Restores the behaviour of a correct issuer.
    pub fn behave(&self) {
        let mut state = lock(&self.state);
        state.behaviour = Behaviour::Tickets;
        state.behaviour_at.clear();
        state.delay = Duration::ZERO;
    }

    /// Sets how long a correct reply takes.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Returns the request lines of all complete requests.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// Returns the number of complete requests with this path.
    pub fn requests_for(&self, path: &str) -> usize {
        self.requests()
            .iter()
            .filter(|line| line.split(' ').nth(1) == Some(path))
            .count()
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Closes the listening socket: the kernel refuses connections from now on.
    pub fn refuse(&mut self) {
        self.server.refuse();
    }

    /// Undoes [`KeyServer::refuse`].
    pub fn listen_again(&mut self) {
        self.server.listen_again();
    }
}

impl Service for Documents {
    const CONTENT_TYPE: &'static str = "application/json";

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        let document = match request.path() {
            JWKS => &self.keys,
            path if path.ends_with(DISCOVERY) => &self.discovery,
            _ => return http::reply(404, "text/html", b"<h1>Not Found</h1>"),
        };
        http::reply(200, Self::CONTENT_TYPE, document.as_bytes())
    }
}
