//! A server certificate that expires between two logins.

use super::fault_env::{FaultEnv, KNOWN, print_row};
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};
use test_support::faulty_cas::FaultyCas;
use test_support::key_server::KeyServer;
use test_support::libsasl2::code;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::token_site::named;
use test_support::mint::SigningKey;

#[test]
fn expired_server_certificate_affects_only_new_tickets() {
    let env = FaultEnv::new("expires");
    let authority = &env.site.authority;
    // Late enough for the logins before it on a busy machine.
    let end = SystemTime::now() + Duration::from_secs(8);
    let identity = authority.certificate_until(end);
    let cas = FaultyCas::with(Some(&identity));
    cas.arm(KNOWN, "alice", &[PROXY]);
    let issuer = KeyServer::start_at(Ipv4Addr::LOCALHOST.into(), Some(&identity));
    issuer.set_keys(&[named(&env.key, "k1")]);
    let (cas_url, name) = (cas.url(), issuer.issuer());
    let mut driver = env.driver(&[
        ("caspt_url", &cas_url),
        ("jwt_issuer", &name),
        ("jwt_keys_refresh", "1"),
    ]);
    let token = |key: &SigningKey, kid, number| FaultEnv::signed(&issuer, key, kid, number);
    let answer = driver.ticket(KNOWN);
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    assert_eq!(driver.token(&token(&env.key, "k1", 1)).code(), code::OK);
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    std::thread::sleep(left + Duration::from_millis(1_100));

    cas.arm("PT-2-new", "alice", &[PROXY]);
    for _ in 0..2 {
        let answer = driver.ticket("PT-2-new");
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert_eq!(answer.reason(), "server_untrusted", "{answer:?}");
        let detail = answer.field("detail").unwrap_or_default();
        assert!(detail.contains("expired"), "{detail}");
    }
    // The ticket was not sent to a server that cannot prove its identity.
    assert_eq!(cas.requests().len(), 1);
    // The known keys remain in use, and the log tells why no newer ones were fetched.
    let answer = driver.token(&token(&env.key, "k1", 2));
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    let logged = answer.log.iter().any(|(_, line)| line.contains("expired"));
    assert!(logged, "{answer:?}");
    let unknown = token(&SigningKey::p256(), "k2", 3);
    assert_eq!(driver.token(&unknown).code(), code::UNAVAIL);
    // Known sessions are accepted in every process.
    for mut driver in [driver, env.driver(&[("caspt_url", &cas_url)])] {
        let answer = driver.ticket(KNOWN);
        assert_eq!(answer.code(), code::OK, "{answer:?}");
    }
    print_row(
        "the certificates of CAS and of the issuer expire between two logins",
        5,
        "new tickets unavailable, the log says expired; known sessions and tokens with known keys accepted",
        "nothing: the ticket was not sent",
    );
}
