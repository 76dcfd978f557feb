//! Servers with only an IPv6 address, or at one of two addresses of a name.

use super::fault_env::{FaultEnv, print_row};
use super::namespace::{with_names, words};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use test_support::faulty_cas::FaultyCas;
use test_support::https_server::Server;
use test_support::key_server::KeyServer;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::token_site::named;
use test_support::libsasl2::{code, sasl_sso};

const BOTH_ADDRESSES: [&str; 2] = [
    "::1 localhost\n127.0.0.1 localhost\n",
    "127.0.0.1 localhost\n::1 localhost\n",
];

#[test]
fn servers_are_reached_over_ipv6_and_ipv4() {
    let env = FaultEnv::new("ipv6");
    let identity = env.site.authority.server_certificate();
    let mut tried = 0;
    let six = IpAddr::from(Ipv6Addr::LOCALHOST);
    for address in [six, IpAddr::from(Ipv4Addr::LOCALHOST)] {
        let cas = FaultyCas::with_at(address, Some(&identity));
        let issuer = KeyServer::start_at(address, Some(&identity));
        issuer.set_keys(&[named(&env.key, "k1")]);
        for (number, hosts) in ["::1 localhost\n"]
            .iter()
            .chain(&BOTH_ADDRESSES)
            .enumerate()
        {
            if address != six && number == 0 {
                continue;
            }
            let wrapper = with_names(&env.site.scratch, hosts, "");
            let (cas_url, keys) = (cas.url(), issuer.jwks_uri());
            let options = [("caspt_url", cas_url.as_str()), ("jwt_keys", &keys)];
            let mut driver = env.driver_under(&words(&wrapper), &options);
            let ticket = format!("PT-{tried}-named");
            cas.arm(&ticket, "alice", &[PROXY]);
            let answer = driver.ticket(&ticket);
            assert_eq!(answer.code(), code::OK, "{address} {hosts}: {answer:?}");
            let answer = driver.token(&env.token(tried));
            assert_eq!(answer.code(), code::OK, "{address} {hosts}: {answer:?}");
            tried += 2;
        }
    }
    // An address literal in the URL.
    let cas = FaultyCas::with_at(six, Some(&identity));
    let issuer = KeyServer::start_at(six, Some(&identity));
    issuer.set_keys(&[named(&env.key, "k1")]);
    let literal = |url: String| url.replace("localhost", "[::1]");
    let (cas_url, keys) = (literal(cas.url()), literal(issuer.jwks_uri()));
    let mut driver = env.driver(&[("caspt_url", &cas_url), ("jwt_keys", &keys)]);
    cas.arm("PT-1-literal", "alice", &[PROXY]);
    let answer = driver.ticket("PT-1-literal");
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    let answer = driver.token(&env.token(tried));
    assert_eq!(answer.code(), code::OK, "{answer:?}");
    print_row(
        "CAS and the issuer only at ::1; a name with two addresses, one of them listening",
        tried + 2,
        "all accepted",
        "nothing",
    );
}

#[test]
fn login_command_connects_to_an_ipv6_address() {
    let env = FaultEnv::new("loginv6");
    let identity = env.site.authority.server_certificate();
    let server = Server::start_at(Ipv6Addr::LOCALHOST.into(), Some(&identity), |stream, _| {
        let _ = stream.write_all(b"* OK hello\r\n");
        let mut received = [0; 4096];
        // The client waits for the reply to each line.
        while let Ok(length @ 1..) = stream.read(&mut received) {
            let text = String::from_utf8_lossy(&received[..length]);
            let tag = text.split(' ').next().unwrap_or_default();
            let more = match text.contains("CAPABILITY") {
                true => "* CAPABILITY IMAP4rev1 SASL-IR AUTH=CASPT\r\n",
                false => "",
            };
            let _ = stream.write_all(format!("{more}{tag} OK done\r\n").as_bytes());
        }
    });
    let ca = env.site.scratch.join("ca.pem").display().to_string();
    let ticket = env
        .site
        .scratch
        .write_private("ticket", "PT-1-qj7w2mZx9Kd4vT1pLs8eYr3u");
    let ticket = ticket.display().to_string();
    let address = format!("[::1]:{}", server.port());
    let arguments = [
        "login",
        "--imap",
        &address,
        "--tls",
        "--ca-file",
        &ca,
        "--file",
        &ticket,
    ];
    let (status, out, err) = sasl_sso(&arguments);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("logged in"), "{out}");
}
