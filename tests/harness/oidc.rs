//! A real issuer of tokens: npm's oidc-provider, private to a test.

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
/// The client to which users log in, and the audience of their ID tokens.
pub const CLIENT: &str = "webmail";
/// The client that gets tokens for itself.
pub const ROBOT: &str = "robot";
/// The algorithms that it signs access tokens by. ID tokens have the first.
pub const ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

const PROVIDER: &str = include_str!("oidc/provider.mjs");
/// Of the robot and of the cookies. Guards nothing but a server on loopback that lives for seconds.
const SECRET: &str = "secret-of-the-robot-and-of-the-cookies";

/// A running issuer. Everybody can log in, without a password.
pub struct OidcProvider {
    scratch: Scratch,
    port: Port,
    home: PathBuf,
    ca_pem: String,
    process: Option<Process>,
}

impl OidcProvider {
    /// Starts it, which takes about a second, and waits until it listens.
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

    /// Starts it after [`OidcProvider::stop`], on the same port and with the same keys.
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

    /// Ends it; the kernel refuses connections from now on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again with new keys; the last ones are still published, or not.
    pub fn rotate_keys(&mut self, keep_old: bool) {
        self.stop();
        let keys = self.home.join("keys.json");
        let old = self.home.join("old-keys.json");
        fs::rename(keys, &old).expect("the keys");
        if !keep_old {
            fs::remove_file(old).expect("the old keys");
        }
        self.start_again();
    }

    /// The issuer, such as `https://localhost:12345`.
    pub fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// The address of its keys.
    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.issuer())
    }

    /// A token for [`AUDIENCE`] with the scope `imap`, signed by one of [`ALGORITHMS`].
    pub fn access_token(&self, user: &str, alg: &str) -> String {
        self.access_token_with_scope(user, alg, "imap")
    }

    /// The same with a scope of `imap`, `smtp`, both or none.
    pub fn access_token_with_scope(&self, user: &str, alg: &str, scope: &str) -> String {
        self.tokens(user, scope, alg).access_token
    }

    /// A token that tells [`CLIENT`], and nobody else, who logged in.
    pub fn id_token(&self, user: &str) -> String {
        self.tokens(user, "imap", ALGORITHMS[0]).id_token
    }

    /// An access token of [`ROBOT`] for itself: its `sub` is the client's name.
    pub fn client_token(&self) -> String {
        let resource = resource(ALGORITHMS[0]);
        oidc_login::client_token(&self.browser(), &self.issuer(), (ROBOT, SECRET), &resource)
    }

    /// How many of its answers were the keys.
    pub fn key_requests(&self) -> usize {
        self.access_log()
            .iter()
            .filter(|line| line.starts_with("GET /jwks "))
            .count()
    }

    /// The requests that it has answered, such as `GET /jwks 200`.
    pub fn access_log(&self) -> Vec<String> {
        process::lines(&self.home.join("access.log"))
    }

    /// What it printed.
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

/// One audience has many resources, and the issuer takes the algorithm from the resource.
fn resource(alg: &str) -> String {
    format!("{AUDIENCE}/{alg}")
}
