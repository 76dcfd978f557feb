//! The border to C, with every way in which a login may end, under what sees what is not ours.

use super::world::{KNOWN, World, ends, message, row};
use crate::harness::faulty_cas::Behaviour;
use crate::libsasl2::token_site::oauthbearer;
use crate::libsasl2::valgrind::Valgrind;
use crate::libsasl2::{Driver, code, hex};

/// Patience for what takes fifty times as long.
const OPTIONS: [(&str, &str); 3] = [
    ("caspt_timeout", "60"),
    ("jwt_timeout", "60"),
    ("sso_strip_domain", "univ.example"),
];

/// Comes to everything that a login may come to; how many logins that were.
fn every_end(world: &mut World, driver: &mut Driver) -> usize {
    let mut tried = 0;
    let mut is = |driver: &mut Driver, command: &str, code: i32| {
        let answer = driver.ask(command);
        assert_eq!(answer.code(), code, "{command}: {answer:?}");
        tried += 1;
    };
    let login = |mechanism: &str, message: &[u8]| format!("login {mechanism} {} 01", hex(message));
    let known = format!("\0\0{KNOWN}");
    for _ in 0..2 {
        // Validated, known, known after an end and a beginning.
        for _ in 0..3 {
            is(driver, &login("CASPT", known.as_bytes()), code::OK);
        }
        assert_eq!(driver.ask("reload").last, ["reload", "0"]);
    }
    for message in ["\0alice\0", "alice\0alice\0", "alice@univ.example\0\0"] {
        is(
            driver,
            &login("CASPT", format!("{message}{KNOWN}").as_bytes()),
            code::OK,
        );
    }
    // Refused, by who it is, by CAS, and with a client that goes instead of answering.
    for message in [
        "\0bob\0PT-1-known",
        "bob\0alice\0PT-1-known",
        "\0\0PT-2-bad",
    ] {
        is(driver, &login("CASPT", message.as_bytes()), code::BADAUTH);
    }
    let gone = format!("login CASPT {}", hex(b"\0\0PT-3-bad"));
    is(driver, &gone, code::CONTINUE);
    is(driver, "login CASPT - - 01", code::BADPROT);
    for message in [&b"\0"[..], b"\0\0secret", b"\0\0\xff\xfe", &[b'x'; 9_000]] {
        is(driver, &login("CASPT", message), code::BADPROT);
    }
    let token = world.token(1);
    for _ in 0..2 {
        is(
            driver,
            &login("OAUTHBEARER", &oauthbearer(&token)),
            code::OK,
        );
        let message = format!("user=alice\x01auth=Bearer {token}\x01\x01");
        is(driver, &login("XOAUTH2", message.as_bytes()), code::OK);
    }
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for token in [forged.as_str(), "a.b.c"] {
        is(
            driver,
            &login("OAUTHBEARER", &oauthbearer(token)),
            code::BADAUTH,
        );
    }
    // Nobody to ask: three times in vain, and then nobody is asked.
    world.site.cas.refuse();
    for number in 0..5 {
        let message = format!("\0\0PT-{number}-outage");
        is(driver, &login("CASPT", message.as_bytes()), code::UNAVAIL);
    }
    world.site.cas.listen_again();
    is(driver, &login("CASPT", known.as_bytes()), code::OK);
    let mut other = world.driver(&[("caspt_timeout", "1"), OPTIONS[2]]);
    world.site.cas.set(Behaviour::HangAfterRequest);
    let _ = other.ticket("PT-9-other");
    world.site.cas.set(Behaviour::Tickets);
    // Many a time, so that what is forgotten each time adds up.
    let all = ends(driver, &format!("many CASPT 200 {}", message(KNOWN)));
    assert_eq!(all, [200, 0, 0, 0]);
    let all = ends(
        driver,
        &format!("many OAUTHBEARER 200 {}", hex(&oauthbearer(&token))),
    );
    assert_eq!(all, [200, 0, 0, 0]);
    // A child goes its own way.
    assert_eq!(driver.ask("fork").last, ["forked", "0"]);
    is(driver, &login("CASPT", known.as_bytes()), code::OK);
    driver.ask("leave");
    is(driver, &login("CASPT", known.as_bytes()), code::OK);
    tried + 400
}

#[test]
fn however_a_login_ends_nothing_is_leaked_under_valgrind() {
    let mut world = World::new("border");
    let valgrind = Valgrind::new(&world.site.scratch);
    let mut driver = world.driver_under(&valgrind.words(), &OPTIONS);
    let tried = every_end(&mut world, &mut driver);
    valgrind.assert_nothing_wrong(driver);
    row(
        "the C border under valgrind: every end that a login may come to",
        tried,
        "each what it should",
        "no byte definitely lost, none read that is not ours",
    );
}

/// The same without valgrind: with a plugin and a driver that were built to see for themselves.
#[test]
fn however_a_login_ends_the_driver_ends_well() {
    let mut world = World::new("border");
    let mut driver = world.driver(&OPTIONS);
    let tried = every_end(&mut world, &mut driver);
    let (status, said) = driver.end();
    assert_eq!(status, Some(0), "{said}");
    row(
        "the C border, as it was built: every end that a login may come to",
        tried,
        "each what it should",
        "nothing",
    );
}
