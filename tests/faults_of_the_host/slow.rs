//! A CAS that stops in the middle of something, or goes on one byte a second: the time is for all of
//! a login, wherever it is spent.

use super::world::{World, row};
use crate::harness::cas_reply;
use crate::harness::faulty_cas::{Behaviour, FaultyCas};
use crate::harness::https_server::{End, Server, Stream};
use crate::libsasl2::code;
use crate::libsasl2::site::PROXY;
use std::time::{Duration, Instant};

/// Where the server stops.
enum Place {
    /// While it shakes hands, after these bytes: then nothing, or one byte a second.
    Handshake(&'static [u8], bool),
    /// After it has read the request.
    Reply(Behaviour),
}

/// The begin of a ServerHello of 122 bytes (RFC 8446, section 5.1).
const HELLO: &[u8] = &[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3];

fn places() -> Vec<(&'static str, Place)> {
    let reply = cas_reply::success("root", &[PROXY], &[]);
    let (body, half) = (reply.len(), reply.len() / 2);
    // Longer than anything would be waited for, if each byte were a sign of life.
    let at = |rest, hangs| match hangs {
        true => Place::Reply(Behaviour::HangBefore(rest, reply.clone())),
        false => Place::Reply(Behaviour::DripBefore(rest, reply.clone())),
    };
    vec![
        ("before the handshake", Place::Handshake(b"", true)),
        ("in the handshake", Place::Handshake(HELLO, true)),
        ("in the handshake, dripping", Place::Handshake(HELLO, false)),
        (
            "after the request",
            Place::Reply(Behaviour::HangAfterRequest),
        ),
        (
            "dripping from the start",
            Place::Reply(Behaviour::Drip(reply.clone())),
        ),
        ("in the head", at(body + 10, true)),
        ("in the head, dripping", at(body + 10, false)),
        ("after the head", at(body, true)),
        ("after the head, dripping", at(body, false)),
        ("in the body", at(half, true)),
        ("in the body, dripping", at(half, false)),
        ("before the last byte", at(1, true)),
    ]
}

/// In the place of the server: it never comes to a handshake.
fn shaking_hands(begin: &'static [u8], hangs: bool) -> Server {
    Server::start(None, move |stream: &mut dyn Stream, end: &End| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(begin);
        while end.sleep(Duration::from_secs(1)) {
            if !hangs && stream.write_all(&[0]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn the_time_is_for_all_of_a_login_wherever_cas_stops() {
    let world = World::new("slow");
    let places = places();
    let count = places.len();
    std::thread::scope(|scope| {
        for (number, (name, place)) in places.into_iter().enumerate() {
            let world = &world;
            scope.spawn(move || stops(world, number, name, &place));
        }
    });
    row(
        "a CAS that stops or drips one byte a second: in the handshake, head, body",
        count,
        "unavailable after caspt_timeout, and in with the same ticket when CAS is back",
        "nothing: known sessions go on",
    );
}

fn stops(world: &World, number: usize, name: &str, place: &Place) {
    // Each place has a CAS of its own: one that is silent is left alone after a while.
    let cas = FaultyCas::start(&world.site.authority);
    let (known, new) = (format!("PT-{number}-known"), format!("PT-{number}-new"));
    cas.arm(&known, "alice", &[PROXY]);
    let url = cas.url();
    let mut driver = world.driver(&[("caspt_url", &url)]);
    assert_eq!(driver.ticket(&known).code(), code::OK, "{name}");
    let server = match place {
        Place::Handshake(begin, hangs) => Some(shaking_hands(begin, *hangs)),
        Place::Reply(behaviour) => {
            cas.set(behaviour.clone());
            None
        }
    };
    let instead = server
        .as_ref()
        .map(|server| format!("https://localhost:{}/cas", server.port()));
    let url = instead.as_ref().unwrap_or(&url);
    let mut starved = world.driver(&[("caspt_url", url), ("caspt_timeout", "1")]);
    starved.ask("list");
    let begin = Instant::now();
    let answer = starved.ticket(&new);
    let took = begin.elapsed();
    assert_eq!(answer.code(), code::UNAVAIL, "{name}: {answer:?}");
    assert_eq!(answer.reason(), "server_timeout", "{name}");
    assert_eq!(answer.steps.len(), 1, "{name}: {answer:?}");
    // The time-out is one second; the rest is a busy machine, and less than two bytes more.
    assert!(took < Duration::from_secs(4), "{name}: {took:?}");
    assert_eq!(driver.ticket(&known).code(), code::OK, "{name}");
    cas.set(Behaviour::Tickets);
    cas.arm(&new, "alice", &[PROXY]);
    assert_eq!(driver.ticket(&new).code(), code::OK, "{name}");
}
