//! A web application at the CAS server, such as a webmail, that obtains proxy tickets for its
//! users.

use super::authority::Authority;
use super::cas::{CasServer, address, browser, redirection};
use super::cas_login::{self, between};
use super::http;
use super::https_server::{Server, lock};
use reqwest::blocking::{Client, Response};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Age at which the proxy-granting ticket is replaced. The CAS server expires it after an hour.
const MAX_GRANTING_TICKET_AGE: Duration = Duration::from_secs(1_800);

/// A web application at `https://localhost:PORT/NAME/`.
pub struct Portal {
    name: String,
    server: Server,
    cas: String,
    ca_pem: String,
    /// Proxy-granting tickets that the CAS server has delivered, by their IOU.
    delivered: Arc<Mutex<HashMap<String, String>>>,
    users: Mutex<HashMap<String, Arc<User>>>,
}

/// A user, and the browser that holds the CAS session.
struct User {
    browser: Client,
    /// Locked while the ticket is being obtained, so that concurrent requests share one.
    granting_ticket: Mutex<Option<(String, Instant)>>,
}

impl Portal {
    /// Starts the application. `name` consists of lower-case letters.
    pub fn start(authority: &Authority, cas: &CasServer, name: &str) -> Self {
        let delivered = Arc::new(Mutex::new(HashMap::new()));
        let received = Arc::clone(&delivered);
        let identity = authority.server_certificate();
        let server = Server::start(Some(&identity), move |mut stream, _| {
            let Some(request) = http::read_request(&mut stream) else {
                return;
            };
            if let (Some(iou), Some(ticket)) =
                (request.parameter("pgtIou"), request.parameter("pgtId"))
            {
                lock(&received).insert(iou, ticket);
            }
            http::send(&mut stream, &http::reply(200, "text/plain", b""));
        });
        Self {
            name: name.to_owned(),
            server,
            cas: cas.url(),
            ca_pem: cas.ca_pem().to_owned(),
            delivered,
            users: Mutex::new(HashMap::new()),
        }
    }

    /// Returns the service URL of the application at the CAS server.
    pub fn service(&self) -> String {
        format!("{}/{}/", self.server.origin(), self.name)
    }

    /// Returns the proxy callback URL, which appears in the proxy chain of its tickets.
    pub fn pgt_url(&self) -> String {
        format!("{}pgt", self.service())
    }

    /// Obtains a proxy ticket for `target`, logging the user in to the application first if
    /// necessary.
    pub fn proxy_ticket(&self, user: &str, target: &str) -> String {
        let user = self.user(user);
        let mut granting_ticket = lock(&user.granting_ticket);
        granting_ticket.take_if(|(_, since)| since.elapsed() > MAX_GRANTING_TICKET_AGE);
        let (granting_ticket, _) = granting_ticket
            .get_or_insert_with(|| (self.granting_ticket(&user.browser), Instant::now()));
        let xml = text(
            user.browser
                .get(address(
                    &format!("{}/proxy", self.cas),
                    &[("pgt", granting_ticket.as_str()), ("targetService", target)],
                ))
                .send(),
        );
        element(&xml, "cas:proxyTicket")
    }

    /// Obtains a service ticket for `service`, which involves no proxy.
    pub fn service_ticket(&self, user: &str, service: &str) -> String {
        ticket_for(&self.cas, &self.user(user).browser, service)
    }

    /// Logs the user out of the CAS server, which revokes all tickets of that session.
    pub fn log_out(&self, user: &str) {
        if let Some(user) = lock(&self.users).remove(user) {
            text(user.browser.get(format!("{}/logout", self.cas)).send());
        }
    }

    fn user(&self, name: &str) -> Arc<User> {
        if let Some(user) = lock(&self.users).get(name) {
            return Arc::clone(user);
        }
        // The lock is not held here, so that users can log in concurrently.
        let user = Arc::new(User {
            browser: browser(&self.ca_pem),
            granting_ticket: Mutex::new(None),
        });
        let page = user.browser.get(format!("{}/login", self.cas)).send();
        let page = page.expect("cannot load the login form");
        cas_login::fill_in(&user.browser, page, name);
        Arc::clone(lock(&self.users).entry(name.to_owned()).or_insert(user))
    }

    /// Validates a service ticket and returns the proxy-granting ticket delivered to the callback.
    fn granting_ticket(&self, browser: &Client) -> String {
        let service = self.service();
        let ticket = ticket_for(&self.cas, browser, &service);
        let xml = text(
            browser
                .get(address(
                    &format!("{}/serviceValidate", self.cas),
                    &[
                        ("service", service.as_str()),
                        ("ticket", ticket.as_str()),
                        ("pgtUrl", self.pgt_url().as_str()),
                    ],
                ))
                .send(),
        );
        let iou = element(&xml, "cas:proxyGrantingTicket");
        lock(&self.delivered)
            .remove(&iou)
            .expect("no proxy-granting ticket arrived at the callback")
    }
}

/// Sends a logged-in browser to the CAS server and returns the ticket from the redirection to
/// `service`.
fn ticket_for(cas: &str, browser: &Client, service: &str) -> String {
    let reply = browser
        .get(address(&format!("{cas}/login"), &[("service", service)]))
        .send()
        .expect("the CAS server did not reply");
    let Some(location) = redirection(&reply) else {
        panic!("no ticket for {service}:\n{}", text(Ok(reply)));
    };
    let (_, ticket) = location
        .as_str()
        .rsplit_once("ticket=")
        .expect("the redirection contains no ticket");
    ticket.to_owned()
}

fn text(reply: reqwest::Result<Response>) -> String {
    reply
        .and_then(Response::text)
        .expect("the CAS server did not reply")
}

fn element(xml: &str, name: &str) -> String {
    between(xml, &format!("<{name}>"), "<")
}
