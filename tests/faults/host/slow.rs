//! A CAS server that hangs at some point or sends one byte per second. The time-out covers the
//! whole login.

use super::fault_env::{FaultEnv, print_row};
use std::time::{Duration, Instant};
use test_support::cas_reply;
use test_support::faulty_cas::{Behaviour, FaultyCas};
use test_support::https_server::{End, Server, Stream};
use test_support::libsasl2::code;
use test_support::libsasl2::site::PROXY;

/// The point at which the server hangs.
enum HangPoint {
    /// During the handshake, after these bytes. Hangs if the flag is true, else sends one byte per
    /// second.
    Handshake(&'static [u8], bool),
    /// After the request.
    Reply(Behaviour),
}

/// The beginning of a ServerHello of 122 bytes (RFC 8446, section 5.1).
const HELLO: &[u8] = &[0x16, 3, 3, 0, 0x7a, 2, 0, 0, 0x76, 3, 3];

fn hang_points() -> Vec<(&'static str, HangPoint)> {
    let reply = cas_reply::success("root", &[PROXY], &[]);
    let (body, half) = (reply.len(), reply.len() / 2);
    // The reply takes longer than the time-out, even if each byte restarted it.
    let at = |rest, hangs| match hangs {
        true => HangPoint::Reply(Behaviour::HangBefore(rest, reply.clone())),
        false => HangPoint::Reply(Behaviour::DripBefore(rest, reply.clone())),
    };
    vec![
        ("before the handshake", HangPoint::Handshake(b"", true)),
        ("in the handshake", HangPoint::Handshake(HELLO, true)),
        (
            "in the handshake, one byte per second",
            HangPoint::Handshake(HELLO, false),
        ),
        (
            "after the request",
            HangPoint::Reply(Behaviour::HangAfterRequest),
        ),
        (
            "one byte per second from the start",
            HangPoint::Reply(Behaviour::Drip(reply.clone())),
        ),
        ("in the head", at(body + 10, true)),
        ("in the head, one byte per second", at(body + 10, false)),
        ("after the head", at(body, true)),
        ("after the head, one byte per second", at(body, false)),
        ("in the body", at(half, true)),
        ("in the body, one byte per second", at(half, false)),
        ("before the last byte", at(1, true)),
    ]
}

/// Starts a server that never completes a handshake.
fn never_completes_handshake(begin: &'static [u8], hangs: bool) -> Server {
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
fn login_times_out_wherever_cas_hangs() {
    let env = FaultEnv::new("slow");
    let hang_points = hang_points();
    let count = hang_points.len();
    std::thread::scope(|scope| {
        for (number, (name, hang_point)) in hang_points.into_iter().enumerate() {
            let env = &env;
            scope.spawn(move || check_hang(env, number, name, &hang_point));
        }
    });
    print_row(
        "a CAS that hangs or sends one byte per second: in the handshake, head, body",
        count,
        "unavailable after caspt_timeout, accepted with the same ticket when CAS is back",
        "nothing: known sessions still accepted",
    );
}

fn check_hang(env: &FaultEnv, number: usize, name: &str, hang_point: &HangPoint) {
    // Each has its own CAS server, because the circuit breaker would open after a few failures.
    let cas = FaultyCas::start(&env.site.authority);
    let (known, new) = (format!("PT-{number}-known"), format!("PT-{number}-new"));
    cas.arm(&known, "alice", &[PROXY]);
    let url = cas.url();
    let mut driver = env.driver(&[("caspt_url", &url)]);
    assert_eq!(driver.ticket(&known).code(), code::OK, "{name}");
    let server = match hang_point {
        HangPoint::Handshake(begin, hangs) => Some(never_completes_handshake(begin, *hangs)),
        HangPoint::Reply(behaviour) => {
            cas.set(behaviour.clone());
            None
        }
    };
    let other_url = server
        .as_ref()
        .map(|server| format!("https://localhost:{}/cas", server.port()));
    let url = other_url.as_ref().unwrap_or(&url);
    let mut impatient = env.driver(&[("caspt_url", url), ("caspt_timeout", "1")]);
    impatient.ask("list");
    let begin = Instant::now();
    let answer = impatient.ticket(&new);
    let took = begin.elapsed();
    assert_eq!(answer.code(), code::UNAVAIL, "{name}: {answer:?}");
    assert_eq!(answer.reason(), "server_timeout", "{name}");
    assert_eq!(answer.steps.len(), 1, "{name}: {answer:?}");
    // The limit allows for a busy machine, and is shorter than the time of two more bytes.
    assert!(took < Duration::from_secs(4), "{name}: {took:?}");
    assert_eq!(driver.ticket(&known).code(), code::OK, "{name}");
    cas.set(Behaviour::Tickets);
    cas.arm(&new, "alice", &[PROXY]);
    assert_eq!(driver.ticket(&new).code(), code::OK, "{name}");
}
