//! A real webmail in PHP: phpCAS in proxy mode obtains the tickets, and c-client opens the mailbox
//! with them.
//!
//! Facts about c-client in PHP:
//! - It sends AUTHENTICATE PLAIN without an initial response, and `AUTH PLAIN` over POP3, if the
//!   server offers PLAIN; otherwise LOGIN, and USER and PASS over POP3. Without TLS it adds a
//!   warning about PLAIN to [`Opened::errors`] and continues.
//! - It tries each login three times on one connection.
//! - Its STARTTLS uses TLS 1.0, which OpenSSL 3 rejects. If the server offers STARTTLS, it always
//!   uses it and does not fall back to plain text. A mailbox therefore needs implicit TLS or
//!   `/notls`.
//! - It silently truncates a password after 1023 bytes.

use super::authority::Authority;
use super::cas::{CasServer, address, browser, redirection};
use super::cas_login;
use super::cyrus::{Cyrus, Service};
use super::https_server::Server;
use super::port::Port;
use super::process::Process;
use super::scratch::{Scratch, set_mode};
use super::tls_front;
use nix::sys::signal::Signal;
use reqwest::Url;
use reqwest::blocking::{Client, Response};
use serde_json::Value;
use std::time::Duration;

const PAGE: &str = include_str!("php_webmail/webmail.php");

/// Number of PHP worker processes. A login needs two at a time, because the CAS server calls back
/// during the request; the number of concurrent logins must therefore be smaller.
const WORKERS: &str = "16";

/// Time-out of a request. c-client has a time-out of its own for each step of a login.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of redirections during a login: to the CAS server and back, and one that removes
/// the ticket from the URL.
const MAX_REDIRECTIONS: usize = 6;

/// A running webmail at `https://localhost:PORT/NAME/`.
pub struct PhpWebmail {
    // Declared before the front, so that it is stopped first: the front waits for its replies.
    process: Process,
    front: Server,
    _port: Port,
    name: String,
    ca_pem: String,
}

/// The session of a user who has logged in to the webmail with a browser.
pub struct Session<'a> {
    webmail: &'a PhpWebmail,
    browser: Client,
    user: String,
}

/// A mailbox in the notation of c-client: `{localhost:PORT/SERVICE/FLAGS}INBOX`.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox<'a> {
    /// imapd, with or without implicit TLS, or pop3d.
    pub service: Service,
    /// The port on localhost.
    pub port: u16,
    /// Flags such as `/notls` or `/novalidate-cert`. Without the latter, c-client trusts only the
    /// CA of the test.
    pub flags: &'a str,
    /// The user name to send with the ticket, if it is not the user of the session.
    pub user: Option<&'a str>,
}

impl Mailbox<'_> {
    /// Returns the user's INBOX, without TLS unless the service has implicit TLS.
    pub fn of(cyrus: &Cyrus, service: Service) -> Self {
        Self {
            service,
            port: cyrus.port(service),
            flags: match service {
                Service::Imaps => "",
                _ => "/notls",
            },
            user: None,
        }
    }

    fn name(&self) -> String {
        let service = match self.service {
            Service::Imap => "imap",
            Service::Imaps => "imap/ssl",
            Service::Pop3 => "pop3",
            other => panic!("c-client does not speak {other:?}"),
        };
        format!("{{localhost:{}/{service}{}}}INBOX", self.port, self.flags)
    }
}

/// The result of opening a mailbox.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Whether the mailbox was opened.
    pub opened: bool,
    /// The number of messages in the mailbox.
    pub messages: Option<u64>,
    /// How long c-client took, including the time for a new ticket if phpCAS fetched one.
    pub time: Duration,
    /// The result of `imap_errors()`: errors and warnings. Warnings also occur on success.
    pub errors: Vec<String>,
}

impl PhpWebmail {
    /// Starts the webmail. `name` consists of lower-case letters.
    pub fn start(scratch: &Scratch, authority: &Authority, cas: &CasServer, name: &str) -> Self {
        let port = Port::reserve();
        let front = tls_front::start(authority, port.number());
        let home = scratch.create_dir(format!("php-{}", port.number()));
        let page = scratch.write(home.join("webmail.php"), PAGE);
        let ca = scratch.write(home.join("ca.pem"), authority.ca_pem());
        for private in ["sessions", "tickets"] {
            set_mode(&scratch.create_dir(home.join(private)), 0o700);
        }
        let mut command = scratch.command("php");
        command
            // Ignores php.ini of the host and the extensions that it loads.
            .arg("-n")
            .args(["curl", "dom", "imap"].map(|name| format!("-dextension={name}")))
            .arg(format!(
                "-dsession.save_path={}",
                home.join("sessions").display()
            ))
            // Errors of PHP are logged, not mixed into a reply.
            .args(["-ddisplay_errors=0", "-dlog_errors=1"])
            .arg("-S")
            .arg(format!("127.0.0.1:{}", port.number()))
            .arg(page)
            .current_dir(&home)
            .env("PHP_CLI_SERVER_WORKERS", WORKERS)
            // This is for c-client; the page passes the CA to phpCAS.
            .env("SSL_CERT_FILE", ca)
            .env("WEBMAIL_CAS", cas.url())
            .env("WEBMAIL_HOME", &home)
            .env("WEBMAIL_ORIGIN", front.origin())
            .env("WEBMAIL_PGT_URL", pgt_url(&front, name));
        Self {
            process: scratch.spawn_server("php", command, &port),
            front,
            _port: port,
            name: name.to_owned(),
            ca_pem: authority.ca_pem().to_owned(),
        }
    }

    /// Returns the service URL of the webmail at the CAS server.
    pub fn service(&self) -> String {
        service(&self.front, &self.name)
    }

    /// Returns the proxy callback URL, which appears in the proxy chain of its tickets.
    pub fn pgt_url(&self) -> String {
        pgt_url(&self.front, &self.name)
    }

    /// Logs a user in as a browser does: the webmail redirects to the CAS server, which asks for
    /// the password and redirects back.
    pub fn log_in(&self, user: &str) -> Session<'_> {
        let session = Session {
            webmail: self,
            browser: browser(&self.ca_pem),
            user: user.to_owned(),
        };
        let start = address(&self.service(), &[]);
        let mut page = session.get(start.clone());
        for _ in 0..MAX_REDIRECTIONS {
            let next = match redirection(&page) {
                None if page.url().path() == start.path() => {
                    let page = session.answer(page);
                    assert_eq!(page["user"], user, "{}", self.output());
                    return session;
                }
                None => cas_login::fill_in(&session.browser, page, user),
                elsewhere => elsewhere,
            };
            page = session.get(next.expect("the CAS server sent no redirection"));
        }
        panic!(
            "the login of {user} takes too many redirections, the last to {}",
            page.url()
        );
    }

    /// Returns what PHP printed: its request log and errors.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

impl Drop for PhpWebmail {
    fn drop(&mut self) {
        // The first process does not pass SIGTERM on to the workers.
        self.process.signal_group(Signal::SIGTERM);
    }
}

impl Session<'_> {
    /// Obtains a new proxy ticket, which the session uses from now on.
    pub fn fetch_ticket(&self, service: &str) -> String {
        let reply = self.ask("fetch", &[("service", service)]);
        let ticket = reply["ticket"].as_str().map(str::to_owned);
        ticket.unwrap_or_else(|| panic!("{reply}\n{}", self.webmail.output()))
    }

    /// Replaces the ticket of the session with one that was never issued.
    pub fn spoil_ticket(&self) -> String {
        let reply = self.ask("spoil", &[]);
        reply["ticket"]
            .as_str()
            .expect("the reply has no ticket")
            .to_owned()
    }

    /// Opens a mailbox with the ticket of the session, and keeps the ticket.
    pub fn open(&self, mailbox: &Mailbox) -> Opened {
        let user = mailbox.user.unwrap_or(&self.user);
        let reply = self.ask("open", &[("mailbox", &mailbox.name()), ("user", user)]);
        Opened::read(&reply)
    }

    /// Opens a mailbox with a ticket of its own, through the phpCAS function for that purpose. The
    /// user is always the one of the session.
    pub fn service_mail(&self, service: &str, mailbox: &Mailbox) -> Opened {
        assert!(mailbox.user.is_none(), "{mailbox:?}");
        let parameters = [("mailbox", &*mailbox.name()), ("service", service)];
        Opened::read(&self.ask("service_mail", &parameters))
    }

    fn ask(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        let page = format!("{}{action}", self.webmail.service());
        self.answer(self.get(address(&page, parameters)))
    }

    fn get(&self, page: Url) -> Response {
        let reply = self.browser.get(page).timeout(REQUEST_TIMEOUT).send();
        reply.unwrap_or_else(|error| panic!("{error:?}\n{}", self.webmail.output()))
    }

    fn answer(&self, page: Response) -> Value {
        let text = page.text().expect("cannot read the webmail's reply");
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}:\n{text}\n{}", self.webmail.output()))
    }
}

impl Opened {
    fn read(reply: &Value) -> Self {
        let errors = reply["errors"]
            .as_array()
            .expect("the reply has no list of errors");
        Self {
            opened: reply["opened"].as_bool().expect("the reply has no result"),
            messages: reply["messages"].as_u64(),
            time: Duration::from_millis(
                reply["milliseconds"]
                    .as_u64()
                    .expect("the reply has no duration"),
            ),
            errors: errors
                .iter()
                .filter_map(|error| error.as_str().map(str::to_owned))
                .collect(),
        }
    }
}

fn service(front: &Server, name: &str) -> String {
    format!("{}/{name}/", front.origin())
}

fn pgt_url(front: &Server, name: &str) -> String {
    format!("{}pgt", service(front, name))
}
