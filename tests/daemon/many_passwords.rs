//! The main promise for clients that can only send a password: tickets and ordinary passwords by
//! LOGIN, through the daemon, with a real CAS server and a stock saslauthd as fallback.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The run is made for the figures it prints.
#![allow(clippy::print_stdout)]

use std::thread;
use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::daemon::{self, Daemon};
use test_support::portal::Portal;
use test_support::relay::Relay;
use test_support::saslauthd::Saslauthd;
use test_support::scratch::Scratch;
use test_support::thousand::{LOGINS, USERS, log_in_all, tickets, user};

/// Number of stock saslauthd processes: each handles one request at a time, and logs in to Cyrus
/// for it.
const PROCESSES: u32 = 8;

/// An ordinary password that slightly resembles a ticket, a token, or quoted text.
fn password(number: usize) -> String {
    match number % 3 {
        0 => format!("ST-Pauli {number}"),
        1 => format!("e{number}.my.pass\\word"),
        _ => format!("say \"{number}\""),
    }
}

/// A Cyrus that stores the passwords, and the saslauthd that checks them against it.
fn stock(scratch: &Scratch, authority: &Authority) -> (Saslauthd, Cyrus) {
    let cyrus = Cyrus::start(scratch, authority, Options::default());
    for number in 0..USERS {
        cyrus.sasl_user(&user(number), &password(number));
    }
    (Saslauthd::start_with(scratch, &cyrus, PROCESSES), cyrus)
}

/// Starts the daemon at `mux`, which is not the path that imapd connects to.
fn serve(scratch: &Scratch, cyrus: &Cyrus, mux: &std::path::Path) -> Daemon {
    let mut command = daemon::command(scratch, &cyrus.imapd_conf(), cyrus.log());
    command.arg("--socket").arg(mux);
    Daemon::start_with(scratch, mux, command)
}

#[test]
fn thousand_logins_with_tickets_and_passwords_succeed_through_the_daemon() {
    let (scratch, other) = (Scratch::new("passwords"), Scratch::new("stock"));
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let portals = ["portal", "webmail"].map(|name| Portal::start(&authority, &cas, name));
    let portals = [&portals[0], &portals[1]];
    let (tickets, (saslauthd, _stock_cyrus)) = thread::scope(|scope| {
        let tickets = scope.spawn(|| tickets(&portals));
        let stock = stock(&other, &authority);
        (tickets.join().expect("the tickets"), stock)
    });

    // The chain is: imapd, a relay, the daemon, another relay, saslauthd.
    let mux = daemon::mux(&scratch);
    let front_relay = scratch.join("before");
    let back_relay = Relay::start(&scratch.join("behind"), saslauthd.mux());
    let mut lines = test_support::thousand::lines(&scratch, &authority, &cas, &portals);
    for (name, value) in [
        ("sasl_pwcheck_method", "saslauthd"),
        ("sasl_saslauthd_path", &front_relay.display().to_string()),
        (
            "sasl_sso_fallback_socket",
            &back_relay.path().display().to_string(),
        ),
    ] {
        lines.push((name.to_owned(), value.to_owned()));
    }
    let options = Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf: lines,
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    let _daemon = serve(&scratch, &cyrus, &mux);
    let front_relay = Relay::start(&front_relay, &mux);

    let passwords = (0..USERS).map(|number| (user(number), password(number)));
    let credentials: Vec<(String, String)> = tickets
        .chunks(portals.len())
        .zip(passwords)
        .flat_map(|(tickets, password)| tickets.iter().cloned().chain([password]))
        .collect();
    let validations = cas.validations();
    let run = log_in_all(cyrus.imap_port(), &credentials, |imap, (user, password)| {
        imap.login(user, password)
    });
    let asked = cas.validations() - validations;
    println!(
        "{} of {LOGINS} logins by {} processes, CAS asked {asked} times, saslauthd {} times",
        run.succeeded,
        run.processes.len(),
        back_relay.requests().len(),
    );
    run.assert_all_in(&cyrus, (asked, USERS * portals.len()));

    // Compares imapd's requests with those that reach saslauthd: no ticket, and every ordinary
    // password unchanged.
    let contains = |request: &[u8], ticket: &str| {
        let mut windows = request.windows(ticket.len());
        windows.any(|window| window == ticket.as_bytes())
    };
    let has_ticket =
        |request: &Vec<u8>| tickets.iter().any(|(_, ticket)| contains(request, ticket));
    let (with_ticket, mut ordinary): (Vec<_>, Vec<_>) =
        front_relay.requests().into_iter().partition(has_ticket);
    assert_eq!(with_ticket.len() + ordinary.len(), LOGINS);
    assert_eq!(ordinary.len(), LOGINS / 3);
    let mut arrived = back_relay.requests();
    assert!(!arrived.iter().any(has_ticket));
    ordinary.sort();
    arrived.sort();
    assert!(
        ordinary == arrived,
        "a request differs from what imapd sent"
    );
}
