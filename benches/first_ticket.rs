//! A ticket that nobody has seen: the plugin asks the CAS. Beside curl, which asks the same server
//! the same: with the server's own time in both, and less what it used of the processor.

use crate::measure::{Series, rounds};
use crate::table::{Better, Row};
use std::cell::RefCell;
use std::time::Duration;
use test_support::authority::Authority;
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::{Driver, Kit, hex};
use test_support::scratch::Scratch;

const ROUNDS: usize = 21;

/// One server, asked by the one and by the other.
struct Pair<'k> {
    cas: FaultyCas,
    driver: Driver,
    kit: &'k Kit,
    options: [(&'static str, String); 4],
    scratch: Scratch,
    authority: String,
    asked: usize,
    /// What the plugin and curl took, less the server's own time, in milliseconds.
    own: [Series; 2],
}

/// The rows of the table.
pub fn rows() -> Vec<Row> {
    let authority = Authority::new();
    let scratch = Scratch::new("bench-first");
    let kit = Kit::new(&scratch);
    let pair = |cas| RefCell::new(Pair::new(cas, &scratch, &kit, &authority));
    let (plain, tls) = (
        pair(FaultyCas::start_plain()),
        pair(FaultyCas::start(&authority)),
    );
    let [us, curl, us_tls, curl_tls, first] = rounds(
        ROUNDS,
        [
            &mut || plain.borrow_mut().log_in(),
            &mut || plain.borrow_mut().curl(),
            &mut || tls.borrow_mut().log_in(),
            &mut || tls.borrow_mut().curl(),
            &mut || tls.borrow_mut().log_in_anew(),
        ],
    );
    let (plain, tls) = (plain.into_inner(), tls.into_inner());
    let [own, curl_own] = plain.own.map(Series::warmed_up);
    let [own_tls, curl_own_tls] = tls.own.map(Series::warmed_up);
    let row = |what, ours: &Series, other: &Series| {
        Row::new(what, "ms", ours, ("curl", other), Better::Less)
    };
    vec![
        row("unknown ticket, CAS by http", &us, &curl),
        row("… less the server's time", &own, &curl_own),
        row("… by https", &us_tls, &curl_tls),
        row("… less the server's time", &own_tls, &curl_own_tls),
        row("… the first of a process", &first, &curl_tls),
    ]
}

impl<'k> Pair<'k> {
    fn new(cas: FaultyCas, scratch: &Scratch, kit: &'k Kit, authority: &Authority) -> Self {
        let ca = authority.write_ca(scratch).display().to_string();
        let state = scratch.join("state").display().to_string();
        let options = [
            ("caspt_url", cas.url()),
            ("caspt_ca_file", ca.clone()),
            ("caspt_proxies", PROXY.to_owned()),
            ("sso_state_dir", state),
        ];
        let driver = driver(kit, scratch, &options);
        Self {
            cas,
            driver,
            kit,
            options,
            scratch: scratch.clone(),
            authority: ca,
            asked: 0,
            own: [Series::default(), Series::default()],
        }
    }

    /// The next ticket.
    fn next(&mut self) -> String {
        self.asked += 1;
        let ticket = format!("PT-first-{}", self.asked);
        self.cas.arm(&ticket, "user1", &[PROXY]);
        ticket
    }

    /// The first login of a process, in milliseconds.
    fn log_in_anew(&mut self) -> f64 {
        let command = self.login();
        let mut driver = driver(self.kit, &self.scratch, &self.options);
        driver.median(&command).as_secs_f64() * 1e3
    }

    fn login(&mut self) -> String {
        let message = format!("\0\0{}", self.next());
        format!("time CASPT 1 {}", hex(message.as_bytes()))
    }

    /// A login, in milliseconds.
    fn log_in(&mut self) -> f64 {
        let command = self.login();
        let before = self.cas.worked();
        let time = self.driver.median(&command).as_secs_f64() * 1e3;
        self.note_own(0, time, before);
        time
    }

    /// The same question by curl, from its first to its last byte, in milliseconds.
    fn curl(&mut self) -> f64 {
        let ticket = self.next();
        let question = format!(
            "{}/p3/proxyValidate?service=imap%3A%2F%2Flocalhost&ticket={ticket}",
            self.cas.url()
        );
        let mut command = self.scratch.command("curl");
        command
            .args(["-sS", "-w", "\n%{time_total}", "--cacert"])
            .args([&self.authority, &question]);
        let before = self.cas.worked();
        let output = self.scratch.run("curl", command, "");
        assert!(output.contains("user1"), "{output}");
        let seconds = output
            .lines()
            .last()
            .and_then(|line| line.parse::<f64>().ok());
        let time = seconds.expect("the time that curl took") * 1e3;
        self.note_own(1, time, before);
        time
    }

    /// Notes what was left of `time` without what the server worked since it had worked so long.
    fn note_own(&mut self, whose: usize, time: f64, before: Duration) {
        let server = self.cas.worked() - before;
        self.own[whose].push(time - server.as_secs_f64() * 1e3);
    }
}

fn driver(kit: &Kit, scratch: &Scratch, options: &[(&'static str, String)]) -> Driver {
    let options: Vec<(&str, &str)> = options
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let mut driver = kit.driver(scratch, &options);
    driver.ask("quiet 1");
    driver
}
