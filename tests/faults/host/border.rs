//! Every way that a login can end, at the C interface, under memory checkers.

use super::fault_env::{FaultEnv, KNOWN, message, outcome_counts, print_row};
use test_support::faulty_cas::Behaviour;
use test_support::libsasl2::token_site::oauthbearer;
use test_support::libsasl2::valgrind::Valgrind;
use test_support::libsasl2::{Driver, code, hex};

/// Long time-outs, because valgrind slows execution down by a factor of fifty.
const OPTIONS: [(&str, &str); 3] = [
    ("caspt_timeout", "60"),
    ("jwt_timeout", "60"),
    ("sso_strip_domain", "univ.example"),
];

/// Ends logins in every possible way. Returns the number of logins.
fn every_outcome(env: &mut FaultEnv, driver: &mut Driver) -> usize {
    let mut tried = 0;
    let mut expect_code = |driver: &mut Driver, command: &str, code: i32| {
        let answer = driver.ask(command);
        assert_eq!(answer.code(), code, "{command}: {answer:?}");
        tried += 1;
    };
    let login = |mechanism: &str, message: &[u8]| format!("login {mechanism} {} 01", hex(message));
    let known = format!("\0\0{KNOWN}");
    for _ in 0..2 {
        // The ticket is validated, cached in memory, and cached on the host after a reload.
        for _ in 0..3 {
            expect_code(driver, &login("CASPT", known.as_bytes()), code::OK);
        }
        assert_eq!(driver.ask("reload").last, ["reload", "0"]);
    }
    for message in ["\0alice\0", "alice\0alice\0", "alice@univ.example\0\0"] {
        expect_code(
            driver,
            &login("CASPT", format!("{message}{KNOWN}").as_bytes()),
            code::OK,
        );
    }
    // Refused by the policy, by CAS, and with a client that does not respond to the challenge.
    for message in [
        "\0bob\0PT-1-known",
        "bob\0alice\0PT-1-known",
        "\0\0PT-2-bad",
    ] {
        expect_code(driver, &login("CASPT", message.as_bytes()), code::BADAUTH);
    }
    let abandoned = format!("login CASPT {}", hex(b"\0\0PT-3-bad"));
    expect_code(driver, &abandoned, code::CONTINUE);
    expect_code(driver, "login CASPT - - 01", code::BADPROT);
    for message in [&b"\0"[..], b"\0\0secret", b"\0\0\xff\xfe", &[b'x'; 9_000]] {
        expect_code(driver, &login("CASPT", message), code::BADPROT);
    }
    let token = env.token(1);
    for _ in 0..2 {
        expect_code(
            driver,
            &login("OAUTHBEARER", &oauthbearer(&token)),
            code::OK,
        );
        let message = format!("user=alice\x01auth=Bearer {token}\x01\x01");
        expect_code(driver, &login("XOAUTH2", message.as_bytes()), code::OK);
    }
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for token in [forged.as_str(), "a.b.c"] {
        expect_code(
            driver,
            &login("OAUTHBEARER", &oauthbearer(token)),
            code::BADAUTH,
        );
    }
    // After three failures, the circuit breaker opens.
    env.site.cas.refuse();
    for number in 0..5 {
        let message = format!("\0\0PT-{number}-outage");
        expect_code(driver, &login("CASPT", message.as_bytes()), code::UNAVAIL);
    }
    env.site.cas.listen_again();
    expect_code(driver, &login("CASPT", known.as_bytes()), code::OK);
    let mut other = env.driver(&[("caspt_timeout", "1"), OPTIONS[2]]);
    env.site.cas.set(Behaviour::HangAfterRequest);
    let _ = other.ticket("PT-9-other");
    env.site.cas.set(Behaviour::Tickets);
    // Repeated logins make a leak visible.
    let all = outcome_counts(driver, &format!("many CASPT 200 {}", message(KNOWN)));
    assert_eq!(all, [200, 0, 0, 0]);
    let all = outcome_counts(
        driver,
        &format!("many OAUTHBEARER 200 {}", hex(&oauthbearer(&token))),
    );
    assert_eq!(all, [200, 0, 0, 0]);
    // The child continues, and then the parent.
    assert_eq!(driver.ask("fork").last, ["forked", "0"]);
    expect_code(driver, &login("CASPT", known.as_bytes()), code::OK);
    driver.ask("leave");
    expect_code(driver, &login("CASPT", known.as_bytes()), code::OK);
    tried + 400
}

#[test]
fn no_login_leaks_memory_under_valgrind() {
    let mut env = FaultEnv::new("border");
    let valgrind = Valgrind::new(&env.site.scratch);
    let mut driver = env.driver_under(&valgrind.words(), &OPTIONS);
    let tried = every_outcome(&mut env, &mut driver);
    valgrind.assert_nothing_wrong(driver);
    print_row(
        "the C border under valgrind: every outcome of a login",
        tried,
        "each as expected",
        "no byte leaked, no invalid read",
    );
}

/// Runs without valgrind, for a plugin and a driver built with sanitizers.
#[test]
fn driver_exits_successfully_after_every_outcome() {
    let mut env = FaultEnv::new("border");
    let mut driver = env.driver(&OPTIONS);
    let tried = every_outcome(&mut env, &mut driver);
    let (status, output) = driver.end();
    assert_eq!(status, Some(0), "{output}");
    print_row(
        "the C border, as built: every outcome of a login",
        tried,
        "each as expected",
        "nothing",
    );
}
