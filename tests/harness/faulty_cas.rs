//! A CAS server that misbehaves as told.

use super::authority::{Authority, Identity, self_signed_certificate};
use super::behaviour::{self, State};
use super::https_server::{Server, lock};
use super::strict_cas::{Answer, Ticket, Tickets};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use super::behaviour::Behaviour;

/// A running server. It begins with [`Behaviour::Tickets`] and none armed.
pub struct FaultyCas {
    server: Server,
    state: Arc<Mutex<State<Tickets>>>,
}

impl FaultyCas {
    /// https with a good certificate.
    pub fn start(authority: &Authority) -> Self {
        Self::with(Some(&authority.server_certificate()))
    }

    /// Plain http.
    pub fn start_plain() -> Self {
        Self::with(None)
    }

    /// https with a certificate whose time is over.
    pub fn start_expired(authority: &Authority) -> Self {
        Self::with(Some(&authority.expired_certificate()))
    }

    /// https with the certificate of another host.
    pub fn start_wrong_name(authority: &Authority) -> Self {
        Self::with(Some(&authority.wrong_name_certificate()))
    }

    /// https with a certificate that no authority signed.
    pub fn start_self_signed() -> Self {
        Self::with(Some(&self_signed_certificate()))
    }

    /// https with any certificate, or plain http.
    pub fn with(identity: Option<&Identity>) -> Self {
        Self::with_at(Ipv4Addr::LOCALHOST.into(), identity)
    }

    /// The same on this address of the host alone.
    pub fn with_at(address: IpAddr, identity: Option<&Identity>) -> Self {
        let state = Arc::new(Mutex::new(State::new(Tickets::default())));
        Self {
            server: behaviour::serve(address, identity, &state),
            state,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The address of the CAS, such as `https://localhost:12345/cas`.
    pub fn url(&self) -> String {
        format!("{}/cas", self.server.origin())
    }

    /// What to do with connections from now on; those that hang go on hanging.
    pub fn set(&self, behaviour: Behaviour) {
        lock(&self.state).behaviour = behaviour;
    }

    /// Makes a ticket good, once, for a user who came through these proxies, the last one first.
    pub fn arm(&self, ticket: &str, user: &str, proxies: &[&str]) {
        self.arm_with(ticket, user, proxies, &[]);
    }

    /// The same with attributes.
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

    /// The only service that tickets are good for. Another one spends the ticket all the same.
    pub fn arm_service(&self, service: &str) {
        lock(&self.state).service.service = Some(service.to_owned());
    }

    /// How long a validation of a ticket takes.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// The request lines so far, of complete requests only.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state).requests.clone()
    }

    /// What a correct CAS answered about a ticket, in this order.
    pub fn answers_about(&self, ticket: &str) -> Vec<Answer> {
        lock(&self.state).service.answers_about(ticket)
    }

    /// For how long it has used the processor so far.
    pub fn worked(&self) -> Duration {
        self.server.worked()
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Lets the kernel refuse connections.
    pub fn refuse(&mut self) {
        self.server.refuse();
    }

    /// Ends [`FaultyCas::refuse`].
    pub fn listen_again(&mut self) {
        self.server.listen_again();
    }
}
