//! After a login, whatever its outcome, no trace of the credential is left in the memory of the
//! process, so that a core dump does not reveal it.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::time::Duration;
use test_support::authority::Authority;
use test_support::base64;
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::faulty_saslauthd::{Answer, FaultySaslauthd};
use test_support::key_server::KeyServer;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::token_site::{AUDIENCE, named, oauthbearer};
use test_support::libsasl2::{Driver, code};
use test_support::memory::{Secret, Where, pieces};
use test_support::mint::{SigningKey, now};
use test_support::scratch::Scratch;
use test_support::wait::wait_until;

/// A random text, which occurs nowhere else in memory by chance.
fn random_text() -> String {
    let mut bytes = [0; 30];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    base64::encode_url(&bytes)
}

/// An issuer, and all credentials sent so far.
struct Sender {
    issuer: KeyServer,
    key: SigningKey,
    secrets: Vec<Secret>,
}

impl Sender {
    fn new(authority: &Authority) -> Self {
        let issuer = KeyServer::start(authority);
        let key = SigningKey::p256();
        issuer.set_keys(&[named(&key, "k1")]);
        Self {
            issuer,
            key,
            secrets: Vec::new(),
        }
    }

    /// Creates a ticket and notes it under this description.
    fn ticket(&mut self, what: &str) -> String {
        let ticket = format!("PT-1-{}", random_text());
        self.note(what, &ticket.as_bytes()[5..]);
        ticket
    }

    /// Creates a valid token except for these changes to its claims, and notes its parts.
    fn token(&mut self, what: &str, kid: &str, changes: &Value) -> String {
        let unique = random_text();
        let mut claims = json!({
            "iss": self.issuer.issuer(), "aud": AUDIENCE, "sub": "alice",
            "iat": now() - 5, "exp": now() + 600, "jti": unique,
        });
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        let token = self.key.token(&header, &claims.to_string());
        let parts: Vec<&str> = token.split('.').collect();
        self.note(&format!("{what}: its claims"), parts[1].as_bytes());
        self.note(&format!("{what}: its signature"), parts[2].as_bytes());
        let signature = base64::decode_url(parts[2]).expect("a signature");
        self.note(&format!("{what}: its signature's bytes"), &signature);
        self.note(&format!("{what}: its jti"), unique.as_bytes());
        token
    }

    fn note(&mut self, name: &str, bytes: &[u8]) {
        self.secrets.push(Secret {
            name: name.to_owned(),
            bytes: bytes.to_vec(),
        });
    }

    fn assert_wiped_from(&self, pid: u32, place: Where) {
        let mut found = Vec::new();
        // The thread that made the request ends shortly after it has delivered the answer.
        let gone = wait_until(Duration::from_secs(3), || {
            found = pieces(pid, place, &self.secrets);
            found.is_empty()
        });
        assert!(gone, "{found:#?}");
    }
}

/// A CAS reply that rejects a ticket and quotes it.
fn rejection_quoting(ticket: &str) -> Behaviour {
    Behaviour::Answer(format!(
        "<cas:serviceResponse xmlns:cas=\"http://www.yale.edu/tp/cas\"><cas:authenticationFailure \
         code=\"INVALID_TICKET\">Ticket '{ticket}' not recognized</cas:authenticationFailure>\
         </cas:serviceResponse>"
    ))
}

/// Sends tickets through `send` so that each possible outcome occurs once. `send` gets the reason
/// code that is expected if the ticket is rejected.
fn send_tickets(
    sender: &mut Sender,
    cas: &FaultyCas,
    mut send: impl FnMut(&Sender, &str, Option<&str>),
) {
    let good = sender.ticket("a ticket that is good");
    cas.arm(&good, "alice", &[PROXY]);
    send(sender, &good, None);
    send(sender, &good, None);
    let older = sender.ticket("a ticket for an older CAS");
    cas.arm(&older, "alice", &[PROXY]);
    cas.set(Behaviour::NotFoundOnP3);
    send(sender, &older, None);
    cas.set(Behaviour::Tickets);
    let proxied = sender.ticket("a ticket of another proxy");
    cas.arm(&proxied, "alice", &["https://other.example"]);
    send(sender, &proxied, Some("proxy_not_allowed"));
    let malformed = format!("{} ", sender.ticket("a ticket with a blank behind it"));
    send(sender, &malformed, Some("ticket_malformed"));
    let long = format!("{}{}", sender.ticket("a long ticket"), "x".repeat(300));
    send(sender, &long, Some("ticket_malformed"));
    type Reply = fn(&str) -> Behaviour;
    let replies: [(&str, Reply, &str); 7] = [
        ("quoted in the reply", rejection_quoting, "ticket_refused"),
        (
            "quoted in a malformed reply",
            |ticket| Behaviour::Answer(format!("<a b='{ticket}'>{ticket}")),
            "reply_unusable",
        ),
        (
            "quoted in an error response",
            |ticket| Behaviour::AnswerAs {
                status: 500,
                content_type: format!("text/{ticket}"),
                body: ticket.to_owned(),
            },
            "reply_unusable",
        ),
        (
            "quoted in a truncated reply",
            |ticket| Behaviour::CloseMidReply(format!("{ticket}{}", "x".repeat(400))),
            "reply_unusable",
        ),
        (
            "that gets no answer",
            |_| Behaviour::CloseAfterRequest,
            "reply_unusable",
        ),
        (
            "sent to a closed port",
            |_| Behaviour::CloseOnAccept,
            "server_unreachable",
        ),
        // This is the last one, because repeated time-outs open the circuit breaker.
        (
            "that waits until the time-out",
            |_| Behaviour::HangAfterRequest,
            "server_timeout",
        ),
    ];
    for (what, reply, reason) in replies {
        let ticket = sender.ticket(&format!("a ticket {what}"));
        cas.set(reply(&ticket));
        send(sender, &ticket, Some(reason));
    }
    cas.set(Behaviour::Tickets);
}

/// Like [`send_tickets`], with tokens.
fn send_tokens(sender: &mut Sender, mut send: impl FnMut(&Sender, &str, Option<&str>)) {
    let good = sender.token("a token that is good", "k1", &json!({}));
    send(sender, &good, None);
    send(sender, &good, None);
    let expired = sender.token("an expired token", "k1", &json!({"exp": now() - 600}));
    send(sender, &expired, Some("token_expired"));
    let ours = std::mem::replace(&mut sender.key, SigningKey::p256());
    let forged = sender.token("a forged token", "k1", &json!({}));
    sender.key = ours;
    send(sender, &forged, Some("signature_wrong"));
    let four = sender.token("a token of four parts", "k1", &json!({}));
    send(
        sender,
        &format!("{four}.{}", random_text()),
        Some("token_malformed"),
    );
    let unknown = sender.token("a token of an unknown key", "k2", &json!({}));
    send(sender, &unknown, Some("key_unknown"));
}

#[test]
fn credentials_are_wiped_from_the_memory_of_the_host_application() {
    let site = Site::new("wiped");
    let mut sender = Sender::new(&site.authority);
    let issuer = sender.issuer.issuer();
    let ca = site.authority.write_ca(&site.scratch).display().to_string();
    let options = [
        ("jwt_issuer", &*issuer),
        ("jwt_keys", "discovery"),
        ("jwt_audience", AUDIENCE),
        ("jwt_ca_file", &ca),
        ("caspt_timeout", "3"),
        ("jwt_timeout", "3"),
        ("sso_plain", "yes"),
    ];
    let mut driver = site.driver(&options);
    let log_in = |driver: &mut Driver, mechanism: &str, message: &[u8], reason: Option<&str>| {
        let answer = driver.log_in(mechanism, message);
        match reason {
            None => assert_eq!(answer.code(), code::OK, "{answer:?}"),
            Some(reason) => assert_eq!(answer.reason(), reason, "{answer:?}"),
        }
    };
    for mechanism in ["CASPT", "PLAIN"] {
        send_tickets(&mut sender, &site.cas, |sender, ticket, reason| {
            let message = format!("\0alice\0{ticket}");
            log_in(&mut driver, mechanism, message.as_bytes(), reason);
            sender.assert_wiped_from(driver.pid(), Where::Writable);
        });
    }
    for mechanism in ["OAUTHBEARER", "XOAUTH2", "PLAIN"] {
        send_tokens(&mut sender, |sender, token, reason| {
            let message = match mechanism {
                "OAUTHBEARER" => oauthbearer(token),
                "XOAUTH2" => format!("user=alice\x01auth=Bearer {token}\x01\x01").into_bytes(),
                _ => format!("\0alice\0{token}").into_bytes(),
            };
            log_in(&mut driver, mechanism, &message, reason);
            sender.assert_wiped_from(driver.pid(), Where::Writable);
        });
    }
    sender.assert_wiped_from(driver.pid(), Where::Anywhere);
    // Another process, with an empty cache, whose issuer serves no keys.
    let state = site.scratch.join("without-keys").display().to_string();
    let mut driver = site.driver(&[&options[..], &[("sso_state_dir", &state)]].concat());
    sender.issuer.set(Behaviour::CloseAfterRequest);
    let token = sender.token("a token without keys", "k1", &json!({}));
    log_in(
        &mut driver,
        "OAUTHBEARER",
        &oauthbearer(&token),
        Some("reply_unusable"),
    );
    sender.assert_wiped_from(driver.pid(), Where::Anywhere);
}

#[test]
fn credentials_and_passwords_are_wiped_from_the_memory_of_the_daemon() {
    let (issuing, authority) = (Scratch::new("issuer"), Authority::new());
    let mut sender = Sender::new(&authority);
    let issuer = sender.issuer.issuer();
    let ca = authority.write_ca(&issuing).display().to_string();
    let site = test_support::daemon_site::DaemonEnv::new(
        "wiped",
        &[
            ("sasl_jwt_issuer", &issuer),
            ("sasl_jwt_keys", "discovery"),
            ("sasl_jwt_audience", AUDIENCE),
            ("sasl_jwt_ca_file", &ca),
            ("sasl_caspt_timeout", "3"),
            ("sasl_jwt_timeout", "3"),
            ("sasl_sso_fallback_socket", "{scratch}/fallback"),
        ],
    );
    let ask = |sender: &Sender, password: &str, reason: Option<&str>| {
        let mark = site.mark();
        let answer = site.ask("alice", password);
        match reason {
            None => assert_eq!(answer.as_deref(), Some("OK"), "{}", site.cyrus.log().tail()),
            Some(reason) => {
                site.wait_for_log(mark, &[&format!("reason={reason} ")]);
            }
        }
        sender.assert_wiped_from(site.daemon.pid(), Where::Writable);
    };
    send_tickets(&mut sender, &site.cas, ask);
    send_tokens(&mut sender, ask);
    let saslauthd = FaultySaslauthd::start(&site.fallback(), Answer::Bytes(b"\0\x02OK".to_vec()));
    test_support::scratch::set_mode(&site.fallback(), 0o666);
    for what in ["a good password", "a wrong password"] {
        let password = random_text();
        sender.note(what, password.as_bytes());
        assert!(site.ask("alice", &password).is_some());
        saslauthd.set(Answer::Bytes(b"\0\x02NO".to_vec()));
    }
    sender.assert_wiped_from(site.daemon.pid(), Where::Anywhere);
}
