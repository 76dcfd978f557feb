//! An issuer of tokens that publishes its keys, and misbehaves as told.
//!
//! It issues nothing itself: a test signs tokens with the keys of `mint.rs`.

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

/// Where OpenID Connect Discovery 1.0, section 4, wants the document, below the issuer.
pub const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where the keys are.
pub const JWKS: &str = "/jwks";

/// A running server. It begins as a correct issuer without keys.
pub struct KeyServer {
    server: Server,
    state: Arc<Mutex<State<Documents>>>,
}

struct Documents {
    discovery: String,
    keys: String,
}

impl KeyServer {
    /// https with a good certificate.
    pub fn start(authority: &Authority) -> Self {
        Self::start_with(Some(&authority.server_certificate()))
    }

    /// https with any certificate, or plain http.
    pub fn start_with(identity: Option<&Identity>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), identity)
    }

    /// The same on this address of the host alone.
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

    /// The issuer, such as `https://localhost:12345`.
    pub fn issuer(&self) -> String {
        self.server.origin()
    }

    /// The address of the keys.
    pub fn jwks_uri(&self) -> String {
        format!("{}{JWKS}", self.issuer())
    }

    /// The discovery document of a correct issuer, for a test to change.
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

    /// Replaces the discovery document, by JSON or by any other text. It is served at
    /// [`DISCOVERY`] below any path, for an issuer that has one.
    pub fn set_discovery(&self, document: impl Display) {
        lock(&self.state).service.discovery = document.to_string();
    }

    /// Publishes these keys and no others: JWKs as of `SigningKey::jwk`.
    pub fn set_keys(&self, keys: &[Value]) {
        self.set_jwks(json!({"keys": keys}));
    }

    /// Replaces the key set, by JSON or by any other text.
    pub fn set_jwks(&self, document: impl Display) {
        lock(&self.state).service.keys = document.to_string();
    }

    /// What to do with connections from now on; those that hang go on hanging.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// What to do with complete requests for this path alone.
    pub fn set_at(&self, path: &str, behaviour: Behaviour) {
        let mut state = lock(&self.state);
        state.behaviour_at.insert(path.to_owned(), behaviour);
    }

    /// Makes it a correct issuer again.
    pub fn behave(&self) {
        let mut state = lock(&self.state);
        state.behaviour = Behaviour::Tickets;
        state.behaviour_at.clear();
        state.delay = Duration::ZERO;
    }

    /// How long a correct answer takes.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// The request lines so far, of complete requests only.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// How many complete requests for this path there were.
    pub fn requests_for(&self, path: &str) -> usize {
        self.requests()
            .iter()
            .filter(|line| line.split(' ').nth(1) == Some(path))
            .count()
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Lets the kernel refuse connections.
    pub fn refuse(&mut self) {
        self.server.refuse();
    }

    /// Ends [`KeyServer::refuse`].
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
