//! The main promise, to clients that can only send a password: tickets and ordinary passwords by
//! LOGIN, through the daemon, with a real CAS server and a saslauthd of the stock kind behind it.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]
// The figures are what the run is for.
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

/// Of the stock saslauthd: each answers one request after the other, and logs in to Cyrus for it.
const PROCESSES: u32 = 8;

/// A password that is none of ours, though it looks a little like what is.
fn password(number: usize) -> String {
    match number % 3 {
        0 => format!("ST-Pauli {number}"),
        1 => format!("e{number}.my.pass\\word"),
        _ => format!("say \"{number}\""),
    }
}

/// A Cyrus that knows the passwords, and the saslauthd that asks it.
fn stock(scratch: &Scratch, authority: &Authority) -> (Saslauthd, Cyrus) {
    let cyrus = Cyrus::start(scratch, authority, Options::default());
    for number in 0..USERS {
        cyrus.sasl_user(&user(number), &password(number));
    }
    (Saslauthd::start_with(scratch, &cyrus, PROCESSES), cyrus)
}

/// Starts the daemon at `mux`, wherever imapd looks for it.
fn serve(scratch: &Scratch, cyrus: &Cyrus, mux: &std::path::Path) -> Daemon {
    let mut command = daemon::command(scratch, &cyrus.imapd_conf(), cyrus.log());
    command.arg("--socket").arg(mux);
    Daemon::start_with(scratch, mux, command)
}

#[test]
fn of_fifty_users_with_two_tickets_and_a_password_each() {
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

    // imapd, a relay, the daemon, another relay, saslauthd.
    let mux = daemon::mux(&scratch);
    let before = scratch.join("before");
    let behind = Relay::start(&scratch.join("behind"), saslauthd.mux());
    let mut lines = test_support::thousand::lines(&scratch, &authority, &cas, &portals);
    for (name, value) in [
        ("sasl_pwcheck_method", "saslauthd"),
        ("sasl_saslauthd_path", &before.display().to_string()),
        (
            "sasl_sso_fallback_socket",
            &behind.path().display().to_string(),
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
    let before = Relay::start(&before, &mux);

    let passwords = (0..USERS).map(|number| (user(number), password(number)));
    let all: Vec<(String, String)> = tickets
        .chunks(portals.len())
        .zip(passwords)
        .flat_map(|(tickets, password)| tickets.iter().cloned().chain([password]))
        .collect();
    let validations = cas.validations();
    let run = log_in_all(cyrus.imap_port(), &all, |imap, (user, password)| {
        imap.login(user, password)
    });
    let asked = cas.validations() - validations;
    println!(
        "{} of {LOGINS} logins by {} processes, CAS asked {asked} times, saslauthd {} times",
        run.succeeded,
        run.processes.len(),
        behind.requests().len(),
    );
    run.assert_all_in(&cyrus, (asked, USERS * portals.len()));

    // What imapd asked, and what came to saslauthd of it: no ticket, and every password as it was.
    let holds = |request: &[u8], ticket: &str| {
        let mut windows = request.windows(ticket.len());
        windows.any(|window| window == ticket.as_bytes())
    };
    let is_of_ours = |request: &Vec<u8>| tickets.iter().any(|(_, ticket)| holds(request, ticket));
    let (of_ours, mut ordinary): (Vec<_>, Vec<_>) =
        before.requests().into_iter().partition(is_of_ours);
    assert_eq!(of_ours.len() + ordinary.len(), LOGINS);
    assert_eq!(ordinary.len(), LOGINS / 3);
    let mut arrived = behind.requests();
    assert!(!arrived.iter().any(is_of_ours));
    ordinary.sort();
    arrived.sort();
    assert!(ordinary == arrived, "a request is not as imapd sent it");
}
