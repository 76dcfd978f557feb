//! Tests of outages of CAS: they affect only logins that need CAS, and only for a short time.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// Some runs print figures.
#![allow(clippy::print_stdout)]

mod crowd;

use std::time::{Duration, Instant};
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::libsasl2::code;
use test_support::libsasl2::site::{PROXY, Site};

const HURRIED: [(&str, &str); 1] = [("caspt_timeout", "2")];

const GARBAGE: &str = "\u{1}\u{2}<<<&&&>>>]]>";

/// A new ticket fails with an outage, without a challenge and within the time-out of two seconds.
/// When CAS answers again, the same ticket is accepted. A cached session is not affected.
fn costs_one_login(name: &str, behaviour: Behaviour, reason: &str) {
    let mut site = Site::new("outage");
    let mut driver = site.driver(&HURRIED);
    site.cas.arm("PT-1-known", "alice", &[PROXY]);
    assert_eq!(driver.ticket("PT-1-known").code(), code::OK);

    let refuses = matches!(&behaviour, Behaviour::Answer(body) if body == "refuse connections");
    if refuses {
        site.cas.refuse();
    } else {
        site.cas.set(behaviour);
    }
    let start = Instant::now();
    let answer = driver.ticket("PT-2-new");
    let took = start.elapsed();
    assert_eq!(
        (answer.code(), answer.reason().as_str()),
        (code::UNAVAIL, reason),
        "{name}"
    );
    assert_eq!(answer.steps, [(code::UNAVAIL, String::new())], "{name}");
    // The request is not repeated; the margin is for a busy machine.
    assert!(took < Duration::from_millis(3_900), "{name}: {took:?}");
    assert_eq!(driver.ticket("PT-1-known").code(), code::OK, "{name}");

    if refuses {
        site.cas.listen_again();
    }
    site.cas.set(Behaviour::Tickets);
    site.cas.arm("PT-2-new", "alice", &[PROXY]);
    assert_eq!(driver.ticket("PT-2-new").code(), code::OK, "{name}");
}

#[test]
fn stopped_cas_is_an_outage() {
    let refuse = Behaviour::Answer("refuse connections".to_owned());
    costs_one_login("refused", refuse, "server_unreachable");
}

#[test]
fn hanging_cas_is_an_outage() {
    costs_one_login("no handshake", Behaviour::HangOnAccept, "server_timeout");
    costs_one_login("no answer", Behaviour::HangAfterRequest, "server_timeout");
    costs_one_login(
        "dripping",
        Behaviour::Drip("x".repeat(100)),
        "server_timeout",
    );
}

#[test]
fn closed_connection_is_an_outage() {
    costs_one_login("at once", Behaviour::CloseOnAccept, "server_unreachable");
    costs_one_login(
        "after the request",
        Behaviour::CloseAfterRequest,
        "reply_unusable",
    );
    costs_one_login(
        "mid reply",
        Behaviour::CloseMidReply("x".repeat(100)),
        "reply_unusable",
    );
}

#[test]
fn unusable_reply_is_an_outage() {
    let answer = |status, body: &str| Behaviour::AnswerAs {
        status,
        content_type: "text/html".to_owned(),
        body: body.to_owned(),
    };
    for (name, behaviour) in [
        ("500", answer(500, "Internal Server Error")),
        ("503 with a success in it", answer(503, &success("root"))),
        ("HTML", answer(200, "<html><body>maintenance</body></html>")),
        ("CAS 1", answer(200, "no\n\n")),
        ("CAS 1", answer(200, "yes\nroot\n")),
        ("empty", Behaviour::EmptyBody),
        ("10 MB", Behaviour::Huge(10_000_000)),
        ("64 kB and one", Behaviour::Huge(65_537)),
        ("garbage", Behaviour::Answer(GARBAGE.to_owned())),
        ("not HTTP", Behaviour::RawBytes(GARBAGE.as_bytes().to_vec())),
    ] {
        costs_one_login(name, behaviour, "reply_unusable");
    }
}

fn success(user: &str) -> String {
    test_support::cas_reply::success(user, &[PROXY], &[])
}

#[test]
fn redirect_is_not_followed() {
    let elsewhere = FaultyCas::start_plain();
    elsewhere.set(Behaviour::Answer(success("root")));
    let redirect = Behaviour::Redirect(format!("{}/p3/proxyValidate", elsewhere.url()));
    costs_one_login("redirect", redirect, "reply_unusable");
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn untrusted_server_receives_no_ticket() {
    let site = Site::new("trust");
    let servers = [
        FaultyCas::start_expired(&site.authority),
        FaultyCas::start_wrong_name(&site.authority),
        FaultyCas::start_self_signed(),
    ];
    for server in &servers {
        server.set(Behaviour::Answer(success("root")));
        let answer = site
            .driver(&[("caspt_url", &server.url())])
            .ticket("PT-1-secret");
        assert_eq!(answer.code(), code::UNAVAIL);
        assert_eq!(answer.reason(), "server_untrusted", "{answer:?}");
        assert_eq!(server.requests(), Vec::<String>::new());
    }
    // The CA of this CAS is not among the system's.
    let answer = site.driver(&[("caspt_ca_file", "")]).ticket("PT-1-secret");
    assert_eq!(answer.reason(), "server_untrusted", "{answer:?}");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let answer = site
        .driver(&[("caspt_ca_file", bundle)])
        .ticket("PT-1-secret");
    assert_eq!(answer.reason(), "server_untrusted", "{answer:?}");
    let answer = site
        .driver(&[("caspt_ca_file", "/missing.pem")])
        .ticket("PT-1-secret");
    assert_eq!(answer.reason(), "trust_unusable", "{answer:?}");
    assert_eq!(site.cas.requests(), Vec::<String>::new());
}

#[test]
fn next_server_is_asked_only_if_nothing_was_written() {
    let site = Site::new("failover");
    let mut second = FaultyCas::start(&site.authority);
    let urls = format!("{} {}", site.cas.url(), second.url());
    let options = [("caspt_url", urls.as_str()), HURRIED[0]];
    let mut driver = site.driver(&options);
    for (number, behaviour, goes_on) in [
        (1, Behaviour::HangOnAccept, true),
        (2, Behaviour::CloseOnAccept, true),
        (3, Behaviour::HangAfterRequest, false),
        (4, Behaviour::CloseAfterRequest, false),
        (5, Behaviour::Huge(100_000), false),
    ] {
        site.cas.set(behaviour);
        let ticket = format!("PT-{number}-failover");
        second.arm(&ticket, "alice", &[PROXY]);
        let before = second.requests().len();
        let answer = driver.ticket(&ticket);
        assert_eq!(answer.code() == code::OK, goes_on, "{number}: {answer:?}");
        assert_eq!(
            second.requests().len() - before,
            usize::from(goes_on),
            "{number}"
        );
    }
    second.refuse();
    site.cas.set(Behaviour::CloseOnAccept);
    assert_eq!(
        driver.ticket("PT-6-failover").reason(),
        "server_unreachable"
    );
}

#[test]
fn cas_protocol_2_is_asked_at_its_own_endpoint() {
    let site = Site::new("version");
    site.cas.set(Behaviour::NotFoundOnP3);
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-1-alice").code(), code::OK);
    let paths: Vec<String> = site.cas.requests();
    assert!(
        paths[0].starts_with("GET /cas/p3/proxyValidate?"),
        "{paths:?}"
    );
    assert!(paths[1].starts_with("GET /cas/proxyValidate?"), "{paths:?}");
    assert_eq!(paths.len(), 2);
}

#[test]
fn open_circuit_breaker_fails_logins_at_once_and_closes_within_ten_seconds() {
    let site = Site::new("breaker");
    site.cas.set(Behaviour::HangAfterRequest);
    let mut one = site.driver(&HURRIED);
    let mut other = site.driver(&HURRIED);
    for number in 0..3 {
        assert_eq!(
            one.ticket(&format!("PT-{number}-silent")).reason(),
            "server_timeout"
        );
    }
    // Another process knows that the breaker is open, too.
    for number in 3..20 {
        let answer = other.ticket(&format!("PT-{number}-silent"));
        assert_eq!(
            (answer.code(), answer.reason().as_str()),
            (code::UNAVAIL, "server_avoided")
        );
    }
    // No ticket of a client was the trial. The next trial is five seconds later.
    let asked = site.cas.requests();
    let is_trial = |line: &&String| line.contains("ticket=PT-sasl-sso-does-CAS-answer-again-");
    let trials = asked.iter().filter(is_trial).count();
    assert_eq!((asked.len() - trials, trials), (3, 1));
    site.cas.set(Behaviour::Tickets);
    site.cas.arm("PT-30-back", "alice", &[PROXY]);
    let back = test_support::wait::wait_until(Duration::from_secs(10), || {
        other.ticket("PT-30-back").code() == code::OK
    });
    assert!(back);
    site.cas.arm("PT-31-back", "alice", &[PROXY]);
    assert_eq!(one.ticket("PT-31-back").code(), code::OK);
}

#[test]
fn replies_of_any_kind_keep_the_breaker_closed() {
    let site = Site::new("replies");
    let mut driver = site.driver(&[]);
    for number in 0..6 {
        site.cas.set(if number % 2 == 0 {
            Behaviour::Answer(GARBAGE.to_owned())
        } else {
            Behaviour::CloseAfterRequest
        });
        let answer = driver.ticket(&format!("PT-{number}-garbage"));
        assert_eq!(answer.reason(), "reply_unusable");
    }
    assert_eq!(site.cas.requests().len(), 6);
}
