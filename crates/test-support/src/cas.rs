//! A real CAS server: django-cas-server under gunicorn, private to a test.

use super::authority::Authority;
use super::port::Port;
use super::process::{self, Process};
use super::scratch::Scratch;
use super::wait::STARTING;
use nix::sys::signal::Signal;
use reqwest::Url;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The Python files of the Django project.
const PROJECT_FILES: &[(&str, &str)] = &[
    ("settings.py", include_str!("cas_site/settings.py")),
    ("urls.py", include_str!("cas_site/urls.py")),
    ("users.py", include_str!("cas_site/users.py")),
    ("wsgi.py", include_str!("cas_site/wsgi.py")),
];

/// Debian's gunicorn, which uses Debian's Python and its packages.
const GUNICORN: &str = "/usr/bin/gunicorn";

/// The validity of tickets unless a test sets another one. It is longer than any test.
const TICKET_VALIDITY: Duration = Duration::from_secs(3600);

/// A running CAS server. Every user name can log in, with the password `test`.
pub struct CasServer {
    scratch: Scratch,
    port: Port,
    home: PathBuf,
    ca_pem: String,
    secret: String,
    ticket_validity: Duration,
    process: Option<Process>,
}

impl CasServer {
    /// Starts the server and waits until it listens.
    pub fn start(scratch: &Scratch, authority: &Authority) -> Self {
        Self::start_with(scratch, authority, TICKET_VALIDITY)
    }

    /// Like [`CasServer::start`], with this validity of tickets.
    pub fn start_with(scratch: &Scratch, authority: &Authority, ticket_validity: Duration) -> Self {
        let port = Port::reserve();
        let name = format!("cas-{}", port.number());
        let home = scratch.create_dir(&name);
        for (file, content) in PROJECT_FILES {
            scratch.write(home.join(file), content);
        }
        scratch.write(home.join("ca.pem"), authority.ca_pem());
        authority
            .server_certificate()
            .write(scratch, &format!("{name}/server"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is before 1970");
        let mut server = Self {
            scratch: scratch.clone(),
            port,
            home,
            ca_pem: authority.ca_pem().to_owned(),
            // Protects only a short-lived server on loopback.
            secret: format!("{}-{}", std::process::id(), now.as_nanos()),
            ticket_validity,
            process: None,
        };
        server.start_again();
        server
    }

    /// Returns the base URL, such as `https://localhost:12345`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// Starts the server again after [`CasServer::stop`], on the same port and with the same
    /// database.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the CAS server runs already");
        let mut command = self.scratch.command(GUNICORN);
        command
            // With --preload, the application is loaded once, not once per worker.
            .args([
                "--preload",
                "--workers=2",
                "--threads=24",
                "--certfile=server.pem",
                "--keyfile=server.key",
            ])
            // Prevents gunicorn from restarting a worker that a test has paused.
            .arg("--timeout=3600")
            .arg("--graceful-timeout=1")
            .arg(format!("--bind=127.0.0.1:{}", self.port.number()))
            .arg("--worker-tmp-dir")
            .arg(&self.home)
            .arg("wsgi:application")
            .current_dir(&self.home)
            .env("PYTHONPATH", &self.home)
            .env("CAS_SITE_HOME", &self.home)
            .env("CAS_SITE_SECRET", &self.secret)
            .env("CAS_SITE_CA", self.home.join("ca.pem"))
            .env(
                "CAS_SITE_TICKET_VALIDITY",
                self.ticket_validity.as_secs().to_string(),
            );
        let process = self.scratch.spawn_server("gunicorn", command, &self.port);
        self.process = Some(process);
    }

    /// Stops the server. The kernel refuses connections from now on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Makes the server hang: the kernel accepts connections, and the server does not respond.
    pub fn pause(&self) {
        self.running().signal_group(Signal::SIGSTOP);
    }

    /// Undoes [`CasServer::pause`].
    pub fn resume(&self) {
        self.running().signal_group(Signal::SIGCONT);
    }

    /// Returns the number of validations, successful or not. A validation is counted before its
    /// client receives the reply.
    pub fn validations(&self) -> usize {
        self.access_log()
            .iter()
            .filter(|line| line.contains("/proxyValidate"))
            .count()
    }

    /// Returns the requests in the access log, such as `GET /login?service=… 200`.
    pub fn access_log(&self) -> Vec<String> {
        process::lines(&self.home.join("access.log"))
    }

    /// Validates a ticket as a mail server does, and returns the XML.
    pub fn validate(&self, service: &str, ticket: &str) -> String {
        browser(&self.ca_pem)
            .get(address(
                &format!("{}/p3/proxyValidate", self.url()),
                &[("service", service), ("ticket", ticket)],
            ))
            .send()
            .and_then(Response::text)
            .unwrap_or_else(|error| {
                panic!("cannot validate a ticket: {error:?}\n{}", self.output())
            })
    }

    /// Returns the certificate of the CA that signed the server's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns what the server printed.
    pub fn output(&self) -> String {
        self.running().output()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the CAS server is stopped")
    }
}

impl Drop for CasServer {
    fn drop(&mut self) {
        // Stops at once, because no client waits for a reply any more.
        if let Some(process) = &self.process {
            process.signal_group(Signal::SIGQUIT);
        }
    }
}

/// Builds a URL with query parameters.
pub fn address(page: &str, parameters: &[(&str, &str)]) -> Url {
    Url::parse_with_params(page, parameters).expect("the URL is invalid")
}

/// Builds a request that submits a form.
pub fn form(browser: &Client, page: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    browser
        .post(page)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.extend_pairs(fields).finish())
}

/// Returns the absolute URL of a redirection.
pub fn redirection(reply: &Response) -> Option<Url> {
    let location = reply.headers().get(LOCATION)?.to_str().ok()?;
    reply.url().join(location).ok()
}

/// Builds an HTTP client that keeps cookies, follows no redirections and trusts only this CA.
pub fn browser(ca_pem: &str) -> Client {
    let authority =
        reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("the CA certificate is invalid");
    Client::builder()
        .tls_certs_only([authority])
        .cookie_store(true)
        .redirect(Policy::none())
        .no_proxy()
        // The server may close an idle connection just when the client reuses it.
        .pool_max_idle_per_host(0)
        .timeout(STARTING)
        .build()
        .expect("cannot build the HTTP client")
}
