//! Many processes at once, as imapd's are, each with logins that it knows by the store that they
//! share: beside as many that ask a saslauthd for what it has in its cache.

use crate::cached_saslauthd::CachedSaslauthd;
use crate::mail::{Mail, PASSWORD};
use crate::measure::{Series, rounds};
use crate::table::{Better, Row};
use std::time::{Duration, Instant};
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::{Driver, Kit, code};
use test_support::scratch::Scratch;

const ROUNDS: usize = 9;
/// How many there are at once.
const PROCESSES: [usize; 3] = [2, 20, 200];
/// Of all processes in one round: some tenths of a second.
const KNOWN: usize = 60_000;
const CACHED: usize = 6_000;

/// Processes that all do one thing, so many times together in a round.
struct Many {
    drivers: Vec<Driver>,
    command: Box<dyn Fn(usize) -> String>,
    logins: usize,
    medians: Series,
}

/// The rows of the table.
pub fn rows(mail: &Mail) -> Vec<Row> {
    let scratch = Scratch::new("bench-processes");
    let kit = Kit::new(&scratch);
    let saslauthd = CachedSaslauthd::start(&scratch, &mail.cyrus);
    let rows = PROCESSES.into_iter().flat_map(|count| {
        let mut known = known(mail, &scratch, &kit, count);
        let mut asking = asking(mail, &scratch, &kit, &saslauthd, count);
        let [rate, other_rate] = rounds(ROUNDS, [&mut || known.round(), &mut || asking.round()]);
        let (median, other_median) = (known.medians.warmed_up(), asking.medians.warmed_up());
        let row = |what: String, unit, ours: &Series, other: &Series, better| {
            Row::new(what, unit, ours, ("saslauthd, cached", other), better)
        };
        let what = format!("{count} processes, known ticket");
        [
            row(what, "/s", &rate, &other_rate, Better::More),
            row(
                "… median".to_owned(),
                "µs",
                &median,
                &other_median,
                Better::Less,
            ),
        ]
    });
    rows.collect()
}

/// Processes with one store.
fn known(mail: &Mail, scratch: &Scratch, kit: &Kit, count: usize) -> Many {
    let ticket = format!("PT-processes-{count}");
    mail.cas.arm(&ticket, "user1", &[PROXY]);
    let messages = scratch.write(format!("{count}.messages"), format!("\0\0{ticket}\n"));
    let messages = format!("messages {}", messages.display());
    let state = scratch.join(format!("state-{count}")).display().to_string();
    let url = mail.cas.url();
    let options = [
        ("caspt_url", url.as_str()),
        ("caspt_proxies", PROXY),
        ("sso_state_dir", &state),
    ];
    let command = |count| format!("walk CASPT {count}");
    Many::new(count, KNOWN, command, || {
        let mut driver = kit.driver(scratch, &options);
        driver.ask(&messages);
        driver
    })
}

fn asking(
    mail: &Mail,
    scratch: &Scratch,
    kit: &Kit,
    saslauthd: &CachedSaslauthd,
    count: usize,
) -> Many {
    let mux = saslauthd.mux();
    let options = [("pwcheck_method", "saslauthd"), ("saslauthd_path", &mux)];
    let user = mail.users[0].clone();
    let command = move |count| format!("checkpass {count} {user} {PASSWORD}");
    Many::new(count, CACHED, command, || kit.driver(scratch, &options))
}

impl Many {
    /// From here on each of them is logged in as one that was known.
    fn new(
        count: usize,
        logins: usize,
        command: impl Fn(usize) -> String + 'static,
        start: impl Fn() -> Driver,
    ) -> Self {
        let mut drivers: Vec<Driver> = (0..count).map(|_| start()).collect();
        for driver in &mut drivers {
            driver.ask("quiet 1");
            driver.median(&command(1));
        }
        Self {
            drivers,
            command: Box::new(command),
            logins,
            medians: Series::default(),
        }
    }

    /// Logins a second.
    fn round(&mut self) -> f64 {
        let each = self.logins / self.drivers.len();
        let command = (self.command)(each);
        let start = Instant::now();
        for driver in &mut self.drivers {
            driver.tell(&command);
        }
        let mut medians = Series::default();
        for driver in &mut self.drivers {
            let answer = driver.answer();
            assert_eq!(answer.code(), code::OK, "{command}: {answer:?}");
            let nanoseconds = answer.last[3].parse().expect("nanoseconds");
            medians.push(Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6);
        }
        let seconds = start.elapsed().as_secs_f64();
        self.medians.push(medians.median());
        (each * self.drivers.len()) as f64 / seconds
    }
}
