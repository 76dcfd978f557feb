//! A mock CAS server whose behaviour a test sets.

use super::authority::{Authority, Identity, self_signed_certificate};
use super::behaviour::{self, State};
use super::https_server::{Server, lock};
use super::strict_cas::{Answer, Ticket, Tickets};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use super::behaviour::Behaviour;

/// A running mock server. It starts with [`Behaviour::Tickets`] and without valid tickets.
pub struct FaultyCas {
    server: Server,
    state: Arc<Mutex<State<Tickets>>>,
}

impl FaultyCas {
    /// Starts an https server with a valid certificate.
    pub fn start(authority: &Authority) -> Self {
        Self::with(Some(&authority.server_certificate()))
    }

    /// Starts an http server.
    pub fn start_plain() -> Self {
        Self::with(None)
    }

    /// Starts an https server with an expired certificate.
    pub fn start_expired(authority: &Authority) -> Self {
        Self::with(Some(&authority.expired_certificate()))
    }

    /// Starts an https server with a certificate for another host name.
    pub fn start_wrong_name(authority: &Authority) -> Self {
        Self::with(Some(&authority.wrong_name_certificate()))
    }

    /// Starts an https server with a self-signed certificate.
    pub fn start_self_signed() -> Self {
        Self::with(Some(&self_signed_certificate()))
    }

    /// Starts an https server with this certificate, or an http server.
    pub fn with(identity: Option<&Identity>) -> Self {
        Self::with_at(Ipv4Addr::LOCALHOST.into(), identity)
    }

    /// Like [`FaultyCas::with`], but listens on this address alone.
    pub fn with_at(address: IpAddr, identity: Option<&Identity>) -> Self {
        let state = Arc::new(Mutex::new(State::new(Tickets::default())));
        Self {
            server: behaviour::serve(address, identity, &state),
            state,
        }
    }

    /// Returns the port of the server.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Returns the base URL of the CAS server, such as `https://localhost:12345/cas`.
    pub fn url(&self) -> String {
        format!("{}/cas", self.server.origin())
    }

    /// Sets the behaviour for new connections. Connections that hang continue to hang.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Makes a ticket valid for one validation. `proxies` is the proxy chain, the most recent
    /// first.
    pub fn arm(&self, ticket: &str, user: &str, proxies: &[&str]) {
        self.arm_with(ticket, user, proxies, &[]);
    }

    /// Like [`FaultyCas::arm`], with attributes of the user.
    pub fn arm_with(
        &self,
        ticket: &str,
        user: &str,
        proxies: &[&str],
        attributes: &[(&str, &str)],
    ) {
        let armed = Ticket {
            user: user.to_owned(),
            proxies: proxies.iter().map(|proxy| (*proxy).to_owned()).collect(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        lock(&self.state).service.arm(ticket, armed);
    }

    /// Restricts all tickets to this service. A validation for another service fails and consumes
    /// the ticket nevertheless.
    pub fn arm_service(&self, service: &str) {
        lock(&self.state).service.service = Some(service.to_owned());
    }

    /// Sets how long the validation of a ticket takes.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Returns the request lines of all complete requests.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// Returns the answers to validations of a ticket, in order.
    pub fn answers_about(&self, ticket: &str) -> Vec<Answer> {
        lock(&self.state).service.answers_about(ticket)
    }

    /// Returns the CPU time that the server has used.
    pub fn worked(&self) -> Duration {
        self.server.worked()
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Closes the listening socket: the kernel refuses connections from now on.
    pub fn refuse(&mut self) {
        self.server.refuse();
    }

    /// Undoes [`FaultyCas::refuse`].
    pub fn listen_again(&mut self) {
        self.server.listen_again();
    }
}
