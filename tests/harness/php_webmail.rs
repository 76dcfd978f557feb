//! A real webmail in PHP: phpCAS in proxy mode gets the tickets, and c-client opens the mailbox by
//! them.
//!
//! What c-client in PHP does:
//! - It sends AUTHENTICATE PLAIN without an initial response if the server offers that, and `AUTH
//!   PLAIN` by POP3; else LOGIN, and USER and PASS by POP3. In the clear it warns of PLAIN, in
//!   [`Opened::errors`], and goes on.
//! - It tries each login three times, by one connection.
//! - Its STARTTLS is of TLS 1.0, which OpenSSL 3 refuses. It starts that unasked if the server
//!   offers it, and does not go on in the clear. So a mailbox has TLS from the start, or `/notls`.
//! - It cuts a password off after 1023 bytes, and says nothing.

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

/// How many requests PHP serves at once. A login has two: the CAS calls while it is asked, so that
/// logins at the same time must be fewer.
const WORKERS: &str = "16";

/// A request is over after this: c-client has a limit of its own for each step.
const LIMIT: Duration = Duration::from_secs(60);

/// The way to the CAS and back, and once more to be rid of the ticket in the address.
const STEPS: usize = 6;

/// The webmail, whose address is `https://localhost:PORT/NAME/`.
pub struct PhpWebmail {
    // Ended before the front, which waits for its replies.
    process: Process,
    front: Server,
    _port: Port,
    name: String,
    ca_pem: String,
}

/// A user who has logged in to the webmail, with a browser.
pub struct Session<'a> {
    webmail: &'a PhpWebmail,
    browser: Client,
    user: String,
}

/// A mailbox as c-client names it: `{localhost:PORT/SERVICE/FLAGS}INBOX`.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox<'a> {
    /// imapd, with TLS from the start or not, or pop3d.
    pub service: Service,
    /// The port on localhost.
    pub port: u16,
    /// Such as `/notls` or `/novalidate-cert`; without that, c-client trusts the authority of the
    /// test alone.
    pub flags: &'a str,
    /// The name that goes with the ticket, if not that of the user who has logged in.
    pub user: Option<&'a str>,
}

impl Mailbox<'_> {
    /// The user's own INBOX, in the clear unless the service has TLS from the start.
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

/// What became of a mailbox that was to be opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Whether it is open.
    pub opened: bool,
    /// How many messages are in it.
    pub messages: Option<u64>,
    /// How long c-client took, and phpCAS with its ticket if it got one.
    pub time: Duration,
    /// `imap_errors()`: c-client's errors, and its warnings, which come with success as well.
    pub errors: Vec<String>,
}

impl PhpWebmail {
    /// Starts it; `name` is of lower-case letters.
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
            // Not the settings of the host, and so not the extensions that they load.
            .arg("-n")
            .args(["curl", "dom", "imap"].map(|name| format!("-dextension={name}")))
            .arg(format!(
                "-dsession.save_path={}",
                home.join("sessions").display()
            ))
            // What PHP has to say is for the log, not in the midst of an answer.
            .args(["-ddisplay_errors=0", "-dlog_errors=1"])
            .arg("-S")
            .arg(format!("127.0.0.1:{}", port.number()))
            .arg(page)
            .current_dir(&home)
            .env("PHP_CLI_SERVER_WORKERS", WORKERS)
            // Of c-client; phpCAS is told in the page.
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

    /// The service by which the CAS knows it.
    pub fn service(&self) -> String {
        service(&self.front, &self.name)
    }

    /// Its proxy callback, which is what stands in the chain of its tickets.
    pub fn pgt_url(&self) -> String {
        pgt_url(&self.front, &self.name)
    }

    /// Logs a user in as a browser does: the webmail sends it to the CAS, which asks for the
    /// password and sends it back.
    pub fn log_in(&self, user: &str) -> Session<'_> {
        let session = Session {
            webmail: self,
            browser: browser(&self.ca_pem),
            user: user.to_owned(),
        };
        let start = address(&self.service(), &[]);
        let mut page = session.get(start.clone());
        for _ in 0..STEPS {
            let next = match redirection(&page) {
                None if page.url().path() == start.path() => {
                    let page = session.answer(page);
                    assert_eq!(page["user"], user, "{}", self.output());
                    return session;
                }
                None => cas_login::fill_in(&session.browser, page, user),
                elsewhere => elsewhere,
            };
            page = session.get(next.expect("a redirection of the CAS server"));
        }
        panic!("the login of {user} has no end: {}", page.url());
    }

    /// What PHP printed: its requests and what it complains of.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

impl Drop for PhpWebmail {
    fn drop(&mut self) {
        // The first process does not tell the others, which would be waited for.
        self.process.signal_group(Signal::SIGTERM);
    }
}

impl Session<'_> {
    /// Gets a fresh proxy ticket, which is that of the session from now on.
    pub fn fetch_ticket(&self, service: &str) -> String {
        let reply = self.ask("fetch", &[("service", service)]);
        let ticket = reply["ticket"].as_str().map(str::to_owned);
        ticket.unwrap_or_else(|| panic!("{reply}\n{}", self.webmail.output()))
    }

    /// Makes the ticket of the session one that nobody issued.
    pub fn spoil_ticket(&self) -> String {
        let reply = self.ask("spoil", &[]);
        reply["ticket"].as_str().expect("a ticket").to_owned()
    }

    /// Opens a mailbox by the ticket of the session, which stays as it is.
    pub fn open(&self, mailbox: &Mailbox) -> Opened {
        let user = mailbox.user.unwrap_or(&self.user);
        let reply = self.ask("open", &[("mailbox", &mailbox.name()), ("user", user)]);
        Opened::read(&reply)
    }

    /// Opens a mailbox by a ticket of its own, in the one call of phpCAS for that. The user is
    /// always the one who has logged in.
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
        let reply = self.browser.get(page).timeout(LIMIT).send();
        reply.unwrap_or_else(|error| panic!("{error:?}\n{}", self.webmail.output()))
    }

    fn answer(&self, page: Response) -> Value {
        let text = page.text().expect("a page of the webmail");
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}:\n{text}\n{}", self.webmail.output()))
    }
}

impl Opened {
    fn read(reply: &Value) -> Self {
        let errors = reply["errors"].as_array().expect("a list of errors");
        Self {
            opened: reply["opened"].as_bool().expect("an outcome"),
            messages: reply["messages"].as_u64(),
            time: Duration::from_millis(reply["milliseconds"].as_u64().expect("a time")),
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
