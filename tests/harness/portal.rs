//! A web application behind the CAS, such as a webmail, that fetches proxy tickets for its users.

use super::authority::Authority;
use super::cas::{CasServer, address, browser, redirection};
use super::cas_login::{self, between};
use super::http;
use super::https_server::{Server, lock};
use reqwest::blocking::{Client, Response};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Until it fetches another ticket to get tickets by: CAS forgets one after an hour.
const FRESH: Duration = Duration::from_secs(1_800);

/// An application whose address is `https://localhost:PORT/NAME/`.
pub struct Portal {
    name: String,
    server: Server,
    cas: String,
    ca_pem: String,
    /// Proxy granting tickets as the CAS delivers them, by the IOU.
    delivered: Arc<Mutex<HashMap<String, String>>>,
    users: Mutex<HashMap<String, Arc<User>>>,
}

/// A user with a browser in which the login at the CAS lasts.
struct User {
    browser: Client,
    /// Held while it is fetched, so that one is enough for all.
    granting_ticket: Mutex<Option<(String, Instant)>>,
}

impl Portal {
    /// Starts the application; `name` is of lower-case letters.
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

    /// The service by which the CAS knows it.
    pub fn service(&self) -> String {
        format!("{}/{}/", self.server.origin(), self.name)
    }

    /// Its proxy callback, which is what stands in the chain of its tickets.
    pub fn pgt_url(&self) -> String {
        format!("{}pgt", self.service())
    }

    /// A proxy ticket for a user who has logged in to the application.
    pub fn proxy_ticket(&self, user: &str, target: &str) -> String {
        let user = self.user(user);
        let mut granting_ticket = lock(&user.granting_ticket);
        granting_ticket.take_if(|(_, since)| since.elapsed() > FRESH);
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

    /// A service ticket that the user got directly, with no proxy between.
    pub fn service_ticket(&self, user: &str, service: &str) -> String {
        ticket_for(&self.cas, &self.user(user).browser, service)
    }

    /// Logs the user out of the CAS, which forgets all tickets of that login.
    pub fn log_out(&self, user: &str) {
        if let Some(user) = lock(&self.users).remove(user) {
            text(user.browser.get(format!("{}/logout", self.cas)).send());
        }
    }

    fn user(&self, name: &str) -> Arc<User> {
        if let Some(user) = lock(&self.users).get(name) {
            return Arc::clone(user);
        }
        // Not under the lock: many users log in at the same time.
        let user = Arc::new(User {
            browser: browser(&self.ca_pem),
            granting_ticket: Mutex::new(None),
        });
        let page = user.browser.get(format!("{}/login", self.cas)).send();
        let page = page.expect("the login form");
        cas_login::fill_in(&user.browser, page, name);
        Arc::clone(lock(&self.users).entry(name.to_owned()).or_insert(user))
    }

    /// What the application does when a user comes back from the CAS with a ticket.
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
            .expect("a proxy granting ticket at the callback")
    }
}

/// Sends a logged-in browser to the CAS on behalf of a service and takes the ticket from the
/// redirection back.
fn ticket_for(cas: &str, browser: &Client, service: &str) -> String {
    let reply = browser
        .get(address(&format!("{cas}/login"), &[("service", service)]))
        .send()
        .expect("a reply of the CAS server");
    let Some(location) = redirection(&reply) else {
        panic!("no ticket for {service}:\n{}", text(Ok(reply)));
    };
    let (_, ticket) = location.as_str().rsplit_once("ticket=").expect("a ticket");
    ticket.to_owned()
}

fn text(reply: reqwest::Result<Response>) -> String {
    reply
        .and_then(Response::text)
        .expect("a reply of the CAS server")
}

fn element(xml: &str, name: &str) -> String {
    between(xml, &format!("<{name}>"), "<")
}
