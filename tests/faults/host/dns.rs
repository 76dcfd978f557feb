//! A DNS server that never answers.

use super::fault_env::{FaultEnv, KNOWN, print_row};
use super::namespace::{with_names, words};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};
use test_support::libsasl2::code;
use test_support::port::Port;
use test_support::root_only::can_as_root;
use test_support::usage::Usage;
use test_support::wait::{PATIENCE, wait_until};

/// Time-out of the C library's resolver, in seconds.
const RESOLVER_TIMEOUT_SECONDS: u64 = 7;

/// Maximum number of threads that wait for the resolver: those of the failures until the breaker
/// opens, and of later attempts while it is half-open.
const MAX_THREADS: usize = 2 + 8;

const NAMES: &str = "127.0.0.1 localhost\n";

#[test]
fn login_time_out_includes_name_resolution() {
    // Only root can bind port 53.
    if !can_as_root() {
        return;
    }
    let env = FaultEnv::new("dns");
    // An address derived from a reserved port is used by no other test.
    let port = Port::reserve();
    let [high, low] = port.number().to_be_bytes();
    let silent =
        UdpSocket::bind((Ipv4Addr::new(127, 66, high, low), 53)).expect("cannot bind port 53");
    let resolver = format!(
        "nameserver 127.66.{high}.{low}\noptions timeout:{RESOLVER_TIMEOUT_SECONDS} attempts:1\n"
    );
    let wrapper = with_names(&env.site.scratch, NAMES, &resolver);
    let options = [("caspt_timeout", "1"), ("jwt_timeout", "1")];
    let mut driver = env.driver_under(&words(&wrapper), &options);
    let mut other = env.driver_under(&words(&wrapper), &options);
    assert_eq!(env.driver(&[]).ticket(KNOWN).code(), code::OK);

    // From here on, the host names of CAS and of the issuer cannot be resolved.
    env.site.scratch.write("etc/hosts", "");
    let is_unavailable = |answer: test_support::libsasl2::Answer, begin: Instant, reason: &str| {
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert_eq!(answer.reason(), reason, "{answer:?}");
        // The time-out is one second; the login does not wait for the resolver.
        let took = begin.elapsed();
        assert!(
            took < Duration::from_secs(RESOLVER_TIMEOUT_SECONDS / 2),
            "{took:?}"
        );
    };
    let begin = Instant::now();
    is_unavailable(driver.token(&env.token(1)), begin, "server_timeout");
    for number in 0..3 {
        let begin = Instant::now();
        let answer = driver.ticket(&format!("PT-{number}-lost"));
        is_unavailable(answer, begin, "server_timeout");
    }
    assert!(
        silent
            .recv(&mut [0; 512])
            .expect("cannot receive the DNS query")
            > 0
    );
    let mut tried = 4;
    let mut max_threads = 0;
    while begin.elapsed() < Duration::from_secs(RESOLVER_TIMEOUT_SECONDS) {
        let begin = Instant::now();
        let answer = driver.ticket(&format!("PT-{tried}-lost"));
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert!(
            begin.elapsed() < Duration::from_secs(RESOLVER_TIMEOUT_SECONDS / 2),
            "{answer:?}"
        );
        assert_eq!(driver.ticket(KNOWN).code(), code::OK);
        max_threads = max_threads.max(Usage::of(driver.pid()).threads);
        tried += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(max_threads > 1, "no thread waited for the resolver");
    assert!(max_threads <= MAX_THREADS, "{max_threads} threads");
    // The process does not wait for these threads when it exits, either.
    let _ = other.ticket("PT-1-other");
    let begin = Instant::now();
    assert_eq!(other.end().0, Some(0));
    assert!(begin.elapsed() < Duration::from_secs(RESOLVER_TIMEOUT_SECONDS / 2));
    // The threads end when the resolver times out, and logins succeed once names can be resolved.
    env.site.scratch.write("etc/hosts", NAMES);
    let is_alone = || Usage::of(driver.pid()).threads == 1;
    assert!(wait_until(PATIENCE, is_alone), "threads are still running");
    env.arm("PT-0-lost");
    let is_back = || driver.ticket("PT-0-lost").code() == code::OK;
    assert!(wait_until(PATIENCE, is_back));
    print_row(
        "a resolver that never answers",
        tried,
        "unavailable after caspt_timeout, then at once; accepted with the same ticket afterwards",
        &format!(
            "nothing: known sessions still accepted, at most {max_threads} waiting threads, which end by themselves"
        ),
    );
}
