//! The daemon with a ticket that it knows, beside a saslauthd with a password in its cache: what both
//! do when many ask at once.

use crate::cached_saslauthd::CachedSaslauthd;
use crate::callers::{Figures, Question};
use crate::mail::{Mail, PASSWORD};
use crate::measure::{Series, rounds};
use crate::table::{Better, Row};
use std::any::Any;
use std::path::PathBuf;
use std::time::Duration;
use test_support::daemon::{self, Daemon};
use test_support::libsasl2::site::PROXY;
use test_support::scratch::{Scratch, cyrus_user};

const ROUNDS: usize = 15;
/// Of one round.
const TIME: Duration = Duration::from_millis(400);
/// How many ask at once.
const CALLERS: [usize; 3] = [1, 16, 128];

/// Whom to ask, and what: the answer is known there.
struct Server {
    mux: PathBuf,
    question: Question,
    /// It ends with this, and before its directory.
    _running: Box<dyn Any>,
    _scratch: Scratch,
}

/// What a server did, round after round: the times in parts of a second.
struct Measured {
    parts: f64,
    median: Series,
    slow: Series,
}

/// The rows of the table.
pub fn rows(mail: &Mail) -> Vec<Row> {
    let (daemon, stock) = (daemon(mail), stock(mail));
    // From here on they know.
    daemon.question.ask(&daemon.mux);
    stock.question.ask(&stock.mux);
    CALLERS
        .into_iter()
        .flat_map(|callers| of_callers(&daemon, &stock, callers))
        .collect()
}

fn of_callers(daemon: &Server, stock: &Server, callers: usize) -> [Row; 3] {
    let (what, unit, parts) = match callers {
        1 => ("daemon, 1 caller".to_owned(), "µs", 1e6),
        _ => (format!("daemon, {callers} callers"), "ms", 1e3),
    };
    let (mut ours, mut others) = (Measured::new(parts), Measured::new(parts));
    let [rate, other_rate] = rounds(
        ROUNDS,
        [&mut || ours.note(&daemon.asked_by(callers)), &mut || {
            others.note(&stock.asked_by(callers))
        }],
    );
    let row = |what: &str, unit, ours: &Series, other: &Series, better| {
        let beside = ("saslauthd, cached", other);
        Row::new(what, unit, ours, beside, better)
    };
    let (median, other_median) = (ours.median.warmed_up(), others.median.warmed_up());
    let (slow, other_slow) = (ours.slow.warmed_up(), others.slow.warmed_up());
    [
        row(&what, "/s", &rate, &other_rate, Better::More),
        row("… median", unit, &median, &other_median, Better::Less),
        row("… 99 of 100", unit, &slow, &other_slow, Better::Less),
    ]
}

/// A saslauthd, asked about a password that it has in its cache.
fn stock(mail: &Mail) -> Server {
    let scratch = Scratch::new("bench-callers");
    let running = CachedSaslauthd::start(&scratch, &mail.cyrus);
    Server {
        mux: PathBuf::from(running.mux()),
        question: Question::new(&mail.users[0], PASSWORD),
        _running: Box::new(running),
        _scratch: scratch,
    }
}

/// The daemon, asked about a ticket whose session it has.
fn daemon(mail: &Mail) -> Server {
    let scratch = Scratch::new("bench-daemon");
    let ticket = "PT-daemon";
    mail.cas.arm(ticket, &mail.users[0], &[PROXY]);
    let lines = [
        ("sasl_caspt_url", mail.cas.url()),
        ("sasl_caspt_proxies", PROXY.to_owned()),
        (
            "sasl_sso_state_dir",
            daemon::mux(&scratch)
                .with_file_name("state")
                .display()
                .to_string(),
        ),
    ];
    let lines = lines.map(|(name, value)| format!("{name}: {value}\n"));
    let configuration = scratch.write("imapd.conf", lines.concat());
    let (mux, user) = (daemon::mux(&scratch), cyrus_user());
    let mut command = daemon::command(&scratch, &configuration, mail.cyrus.log());
    command.arg("--socket").arg(&mux).args(["--user", &user]);
    let running = Daemon::start_with(&scratch, &mux, command);
    Server {
        mux,
        question: Question::new(&mail.users[0], ticket),
        _running: Box::new(running),
        _scratch: scratch,
    }
}

impl Server {
    fn asked_by(&self, callers: usize) -> Figures {
        self.question.ask_at_once(&self.mux, callers, TIME)
    }
}

impl Measured {
    fn new(parts: f64) -> Self {
        Self {
            parts,
            median: Series::default(),
            slow: Series::default(),
        }
    }

    /// Notes a round, and hands on its rate.
    fn note(&mut self, figures: &Figures) -> f64 {
        self.median.push(figures.median.as_secs_f64() * self.parts);
        self.slow.push(figures.slow.as_secs_f64() * self.parts);
        figures.rate
    }
}
