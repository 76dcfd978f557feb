//! A resolver that never answers.

use super::namespace::{with_names, words};
use super::world::{KNOWN, World, row};
use crate::harness::port::Port;
use crate::harness::root_only::can_as_root;
use crate::harness::usage::Usage;
use crate::harness::wait::{PATIENCE, wait_until};
use crate::libsasl2::code;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the resolver of the C library waits by itself, in seconds.
const RESOLVER: u64 = 7;

/// So many threads may wait for it at once: of three failures, and of the trials after that.
const WAITING: usize = 2 + 8;

const NAMES: &str = "127.0.0.1 localhost\n";

#[test]
fn the_time_for_a_login_includes_that_for_names() {
    // Nobody else may have a resolver on port 53.
    if !can_as_root() {
        return;
    }
    let world = World::new("dns");
    // An address that no other test has, as the port is.
    let port = Port::reserve();
    let [high, low] = port.number().to_be_bytes();
    let silent = UdpSocket::bind((Ipv4Addr::new(127, 66, high, low), 53)).expect("port 53");
    let resolver =
        format!("nameserver 127.66.{high}.{low}\noptions timeout:{RESOLVER} attempts:1\n");
    let wrapper = with_names(&world.site.scratch, NAMES, &resolver);
    let options = [("caspt_timeout", "1"), ("jwt_timeout", "1")];
    let mut driver = world.driver_under(&words(&wrapper), &options);
    let mut other = world.driver_under(&words(&wrapper), &options);
    assert_eq!(world.driver(&[]).ticket(KNOWN).code(), code::OK);

    // From here on nobody knows where CAS and the issuer are.
    world.site.scratch.write("etc/hosts", "");
    let is_unavailable = |answer: crate::libsasl2::Answer, begin: Instant, reason: &str| {
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert_eq!(answer.reason(), reason, "{answer:?}");
        // The time-out is one second; the resolver's own is not waited for.
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(RESOLVER / 2), "{took:?}");
    };
    let begin = Instant::now();
    is_unavailable(driver.token(&world.token(1)), begin, "server_timeout");
    for number in 0..3 {
        let begin = Instant::now();
        let answer = driver.ticket(&format!("PT-{number}-lost"));
        is_unavailable(answer, begin, "server_timeout");
    }
    assert!(silent.recv(&mut [0; 512]).expect("a question") > 0);
    let mut tried = 4;
    let mut most = 0;
    while begin.elapsed() < Duration::from_secs(RESOLVER) {
        let begin = Instant::now();
        let answer = driver.ticket(&format!("PT-{tried}-lost"));
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert!(
            begin.elapsed() < Duration::from_secs(RESOLVER / 2),
            "{answer:?}"
        );
        assert_eq!(driver.ticket(KNOWN).code(), code::OK);
        most = most.max(Usage::of(driver.pid()).threads);
        tried += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(most > 1, "nobody waited for the resolver");
    assert!(most <= WAITING, "{most} threads");
    // A process that is to end does not wait for them either.
    let _ = other.ticket("PT-1-other");
    let begin = Instant::now();
    assert_eq!(other.end().0, Some(0));
    assert!(begin.elapsed() < Duration::from_secs(RESOLVER / 2));
    // They go when the resolver gives up, and when there are names again all is as before.
    world.site.scratch.write("etc/hosts", NAMES);
    let is_alone = || Usage::of(driver.pid()).threads == 1;
    assert!(wait_until(PATIENCE, is_alone), "threads were left behind");
    world.arm("PT-0-lost");
    let is_back = || driver.ticket("PT-0-lost").code() == code::OK;
    assert!(wait_until(PATIENCE, is_back));
    row(
        "a resolver that never answers",
        tried,
        "unavailable after caspt_timeout, then at once; in with the same ticket afterwards",
        &format!("nothing: known sessions go on, at most {most} threads, which go by themselves"),
    );
}
