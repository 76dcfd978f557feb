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

/// The site's Python files.
const SITE: &[(&str, &str)] = &[
    ("settings.py", include_str!("cas_site/settings.py")),
    ("urls.py", include_str!("cas_site/urls.py")),
    ("users.py", include_str!("cas_site/users.py")),
    ("wsgi.py", include_str!("cas_site/wsgi.py")),
];

/// Debian's, which knows Debian's Python and the packages there.
const GUNICORN: &str = "/usr/bin/gunicorn";

/// Long enough that no ticket expires in a test that does not wait for it.
const TICKET_VALIDITY: Duration = Duration::from_secs(3600);

/// A running CAS server. Everybody can log in, with the password `test`.
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
    /// Starts it and waits until it listens.
    pub fn start(scratch: &Scratch, authority: &Authority) -> Self {
        Self::start_with(scratch, authority, TICKET_VALIDITY)
    }

    /// The same with tickets that are good for so long.
    pub fn start_with(scratch: &Scratch, authority: &Authority, ticket_validity: Duration) -> Self {
        let port = Port::reserve();
        let name = format!("cas-{}", port.number());
        let home = scratch.create_dir(&name);
        for (file, content) in SITE {
            scratch.write(home.join(file), content);
        }
        scratch.write(home.join("ca.pem"), authority.ca_pem());
        authority
            .server_certificate()
            .write(scratch, &format!("{name}/server"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time after 1970");
        let mut server = Self {
            scratch: scratch.clone(),
            port,
            home,
            ca_pem: authority.ca_pem().to_owned(),
            // Guards nothing but a server on loopback that lives for seconds.
            secret: format!("{}-{}", std::process::id(), now.as_nanos()),
            ticket_validity,
            process: None,
        };
        server.start_again();
        server
    }

    /// Its address, such as `https://localhost:12345`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port.number())
    }

    /// Starts it after [`CasServer::stop`], on the same port and with the same database.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the CAS server runs already");
        let mut command = self.scratch.command(GUNICORN);
        command
            // With --preload the site is loaded once, not once for each worker.
            .args([
                "--preload",
                "--workers=2",
                "--threads=24",
                "--certfile=server.pem",
                "--keyfile=server.key",
            ])
            // A paused worker must not be taken for a dead one.
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

    /// Ends it; the kernel refuses connections from now on.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Makes it hang: connections are accepted by the kernel, and nobody answers.
    pub fn pause(&self) {
        self.running().signal_group(Signal::SIGSTOP);
    }

    /// Ends [`CasServer::pause`].
    pub fn resume(&self) {
        self.running().signal_group(Signal::SIGCONT);
    }

    /// How many validations it has answered, with or without success. A validation counts as soon
    /// as its client has the answer.
    pub fn validations(&self) -> usize {
        self.access_log()
            .iter()
            .filter(|line| line.contains("/proxyValidate"))
            .count()
    }

    /// The requests that it has answered, such as `GET /login?service=… 200`.
    pub fn access_log(&self) -> Vec<String> {
        process::lines(&self.home.join("access.log"))
    }

    /// Validates a ticket as a mail server would, and returns the XML.
    pub fn validate(&self, service: &str, ticket: &str) -> String {
        browser(&self.ca_pem)
            .get(address(
                &format!("{}/p3/proxyValidate", self.url()),
                &[("service", service), ("ticket", ticket)],
            ))
            .send()
            .and_then(Response::text)
            .unwrap_or_else(|error| panic!("validating a ticket: {error:?}\n{}", self.output()))
    }

    /// The certificate authority of the server.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What the server printed.
    pub fn output(&self) -> String {
        self.running().output()
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the CAS server is stopped")
    }
}

impl Drop for CasServer {
    fn drop(&mut self) {
        // At once, whatever is under way: nobody is there any more to see how it ends.
        if let Some(process) = &self.process {
            process.signal_group(Signal::SIGQUIT);
        }
    }
}

/// An address with parameters.
pub fn address(page: &str, parameters: &[(&str, &str)]) -> Url {
    Url::parse_with_params(page, parameters).expect("an address")
}

/// The form of a page, filled in.
pub fn form(browser: &Client, page: &str, fields: &[(&str, &str)]) -> RequestBuilder {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    browser
        .post(page)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.extend_pairs(fields).finish())
}

/// Where a reply sends the browser.
pub fn redirection(reply: &Response) -> Option<Url> {
    let location = reply.headers().get(LOCATION)?.to_str().ok()?;
    reply.url().join(location).ok()
}

/// An HTTP client that keeps cookies, follows no redirection and trusts one authority.
pub fn browser(ca_pem: &str) -> Client {
    let authority = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("a certificate");
    Client::builder()
        .tls_certs_only([authority])
        .cookie_store(true)
        .redirect(Policy::none())
        .no_proxy()
        // One that is kept may be closed by the server at the moment when it is used again.
        .pool_max_idle_per_host(0)
        .timeout(STARTING)
        .build()
        .expect("an HTTP client")
}
