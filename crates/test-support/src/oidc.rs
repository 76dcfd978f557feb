//! A real issuer, npm's oidc-provider, private to a test.

use super::authority::Authority;
use super::cas::browser;
use super::node;
use super::oidc_login;
use super::port::Port;
use super::process::{self, Process};
use super::scratch::Scratch;
use reqwest::blocking::Client;
use std::fs;
use std::path::PathBuf;

/// The audience of all access tokens.
pub const AUDIENCE: &str = "https://mail.example";
/// The client that users log in to, and the audience of their ID tokens.
pub const CLIENT: &str = "webmail";
/// The client that obtains tokens for itself.
pub const ROBOT: &str = "robot";
/// The algorithms that access tokens can be signed with. ID tokens use the first.
pub const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

const PROVIDER: &str = include_str!("oidc/provider.mjs");
/// The client secret of the robot, also used for cookies. It protects only a short-lived server on
/// loopback.
const SECRET: &str = "secret-of-the-robot-and-of-the-cookies";

/// A running issuer. Every user can log in without a password.
pub struct OidcProvider {
    scratch: Scratch,
    port: Port,
    home: PathBuf,
    ca_pem: String,
    process: Option<Process>,
}

impl OidcProvider {
    /// Starts the issuer, which takes about a second, and waits until it listens.
    pub fn start(scratch: &Scratch, authority: &Authority) -> Self {
        let port = Port::reserve();
        let name = format!("oidc-{}", port.number());
        let home = scratch.create_dir(&name);
        authority
            .server_certificate()
            .write(scratch, &format!("{name}/server"));
        let mut provider = Self {
            scratch: scratch.clone(),
            port,
            home,
            ca_pem: authority.ca_pem().to_owned(),
            process: None,
        };
        provider.start_again();
        provider
    }

    /// Starts the issuer again after [`OidcProvider::stop`], on the same port and with the same
    /// keys.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the issuer runs already");
        let mut command = node::command(&self.scratch, &self.home, "provider", PROVIDER);
        command
            .env("OIDC_AUDIENCE", AUDIENCE)
            .env("OIDC_PORT", self.port.number().to_string())
            .env("OIDC_SECRET", SECRET);
        let process = self
            .scratch
            .spawn_server("oidc-provider", command, &self.port);
        self.process = Some(process);
    }

    /// Stops the issuer. The kernel refuses connections from now on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Restarts the issuer with new keys. The previous keys remain published if `keep_old` is true.
    pub fn rotate_keys(&mut self, keep_old: bool) {
        self.stop();
        let keys = self.home.join("keys.json");
        let old = self.home.join("old-keys.json");
        fs::rename(keys, &old).expect("cannot move the keys");
        if !keep_old {
            fs::remove_file(old).expect("cannot remove the old keys");
        }
        self.start_again();
    }

    /// Returns the issuer identifier, such as `https://localhost:12345`.
    pub fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// Returns the URL of the key set.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.issuer())
    }

    /// Obtains a token for [`AUDIENCE`] with the scope `imap`, signed with one of [`ALGORITHMS`].
    pub fn access_token(&self, user: &str, alg: &str) -> String {
        self.access_token_with_scope(user, alg, "imap")
    }

    /// Like [`OidcProvider::access_token`], with `imap`, `smtp`, both or no scope.
    pub fn access_token_with_scope(&self, user: &str, alg: &str, scope: &str) -> String {
        self.tokens(user, scope, alg).access_token
    }

    /// Obtains an ID token, whose audience is [`CLIENT`].
    pub fn id_token(&self, user: &str) -> String {
        self.tokens(user, "imap", ALGORITHMS[0]).id_token
    }

    /// Obtains an access token of [`ROBOT`] for itself. Its `sub` is the name of the client.
    pub fn client_token(&self) -> String {
        let resource = resource(ALGORITHMS[0]);
        oidc_login::client_token(&self.browser(), &self.issuer(), (ROBOT, SECRET), &resource)
    }

    /// Returns the number of requests for the key set.
    pub fn key_requests(&self) -> usize {
        self.access_log()
            .iter()
            .filter(|line| line.starts_with("GET /jwks "))
            .count()
    }

    /// Returns the requests in the access log, such as `GET /jwks 200`.
    pub fn access_log(&self) -> Vec<String> {
        process::lines(&self.home.join("access.log"))
    }

    /// Returns what the issuer printed.
    pub fn output(&self) -> String {
        self.process
            .as_ref()
            .map(Process::output)
            .unwrap_or_default()
    }

    fn tokens(&self, user: &str, scope: &str, alg: &str) -> oidc_login::Tokens {
        oidc_login::log_in(&self.browser(), &self.issuer(), user, scope, &resource(alg))
    }

    fn browser(&self) -> Client {
        browser(&self.ca_pem)
    }
}

/// Returns the resource indicator that selects the algorithm. All resources have the same audience.
fn resource(alg: &str) -> String {
    format!("{AUDIENCE}/{alg}")
}
