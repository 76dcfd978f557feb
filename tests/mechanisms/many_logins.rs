//! The main promise, with a real Cyrus and a real CAS server: a ticket opens IMAP on every
//! reconnect, whichever process answers, and CAS is asked once.

// The run is made for the figures it prints.
#![allow(clippy::print_stdout)]

use test_support::authority::Authority;
use test_support::cas::CasServer;
use test_support::cyrus::{Cyrus, Options};
use test_support::portal::Portal;
use test_support::scratch::Scratch;
use test_support::thousand::{LOGINS, USERS, log_in_all, tickets};

fn all_succeed(name: &str, portals: &[&str]) {
    let scratch = Scratch::new(name);
    let authority = Authority::new();
    let cas = CasServer::start(&scratch, &authority);
    let portals: Vec<Portal> = portals
        .iter()
        .map(|name| Portal::start(&authority, &cas, name))
        .collect();
    let portals: Vec<&Portal> = portals.iter().collect();
    let options = Options {
        plugin: Some(test_support::libsasl2::plugin()),
        imapd_conf: test_support::thousand::lines(&scratch, &authority, &cas, &portals),
        ..Options::default()
    };
    let cyrus = Cyrus::start(&scratch, &authority, options);
    let tickets = tickets(&portals);
    let before = cas.validations();
    let run = log_in_all(cyrus.imap_port(), &tickets, |imap, (_, ticket)| {
        let message = format!("\0\0{ticket}");
        imap.authenticate("CASPT", message.as_bytes(), &[b"\x01"])
    });
    let asked = cas.validations() - before;
    println!(
        "{name}: {} of {LOGINS} logins by {} processes, CAS asked {asked} times",
        run.succeeded,
        run.processes.len(),
    );
    run.assert_all_in(&cyrus, (asked, USERS * portals.len()));
}

#[test]
fn thousand_logins_of_fifty_users_with_one_ticket_each_succeed() {
    all_succeed("webmail", &["webmail"]);
}

#[test]
fn thousand_logins_of_fifty_users_with_two_tickets_each_succeed() {
    all_succeed("both", &["portal", "webmail"]);
}
