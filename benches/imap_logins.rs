//! Logins over IMAP with known tickets, beside those with passwords in sasldb, and with passwords
//! that saslauthd has in its cache.

use crate::cached_saslauthd::CachedSaslauthd;
use crate::mail::{self, Mail, PASSWORD};
use crate::measure::rounds;
use crate::table::{Better, Row};
use std::time::Instant;
use test_support::cyrus::Options;
use test_support::imap::Imap;
use test_support::libsasl2::site::PROXY;

const ROUNDS: usize = 9;
/// Of each user, who has one connection at a time, in one round.
const LOGINS: usize = 40;

/// The rows of the table.
pub fn rows(mail: &Mail) -> Vec<Row> {
    let (scratch, stock, _) = mail::cyrus("bench-stock", Options::default());
    let saslauthd = CachedSaslauthd::start(&scratch, &stock);
    let asking = [
        ("sasl_pwcheck_method", "saslauthd".to_owned()),
        ("sasl_saslauthd_path", saslauthd.mux()),
    ];
    let options = Options {
        imapd_conf: asking
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..Options::default()
    };
    let (_other_scratch, asking, _) = mail::cyrus("bench-asking", options);
    for user in &mail.users {
        mail.cas.arm(&ticket(user), user, &[PROXY]);
    }
    let port = mail.cyrus.imap_port();
    let [tickets, passwords, without, cached] = rounds(
        ROUNDS,
        [
            &mut || {
                log_in(port, &mail.users, "CASPT", |user| {
                    format!("\0\0{}", ticket(user))
                })
            },
            &mut || log_in(port, &mail.users, "PLAIN", password),
            &mut || log_in(stock.imap_port(), &mail.users, "PLAIN", password),
            &mut || log_in(asking.imap_port(), &mail.users, "PLAIN", password),
        ],
    );
    let row = |what, beside, other| Row::new(what, "/s", &tickets, (beside, other), Better::More);
    vec![
        row("IMAP logins, known tickets", "PLAIN, sasldb", &passwords),
        row("IMAP logins, known tickets", "… without us", &without),
        row("IMAP logins, known tickets", "saslauthd, cached", &cached),
    ]
}

fn ticket(user: &str) -> String {
    format!("PT-imap-{user}")
}

fn password(user: &str) -> String {
    format!("\0{user}\0{PASSWORD}")
}

/// Logs in all users again and again, all of them at once: logins a second, each with its
/// connection and its end.
fn log_in(port: u16, users: &[String], mechanism: &str, message: impl Fn(&str) -> String) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for message in users.iter().map(|user| message(user)) {
            scope.spawn(move || {
                for _ in 0..LOGINS {
                    let mut imap = Imap::connect(port);
                    let reply = imap.authenticate(mechanism, message.as_bytes(), &[]);
                    assert!(reply.ok, "{mechanism}: {}", reply.status_line);
                    imap.logout();
                }
            });
        }
    });
    (users.len() * LOGINS) as f64 / start.elapsed().as_secs_f64()
}
