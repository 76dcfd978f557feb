//! A ticket that nobody has seen: the plugin asks the CAS. Beside curl, which asks the same server
//! the same, so that the server's own time is in both.

use crate::harness::authority::Authority;
use crate::harness::faulty_cas::FaultyCas;
use crate::harness::scratch::Scratch;
use crate::libsasl2::site::PROXY;
use crate::libsasl2::{Driver, Kit, hex};
use crate::measure::rounds;
use crate::table::{Better, Row};
use std::cell::RefCell;

const ROUNDS: usize = 21;

/// One server, asked by the one and by the other.
struct Pair {
    cas: FaultyCas,
    driver: Driver,
    scratch: Scratch,
    authority: String,
    asked: usize,
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
    let [us, curl, us_tls, curl_tls] = rounds(
        ROUNDS,
        [
            &mut || plain.borrow_mut().log_in(),
            &mut || plain.borrow_mut().curl(),
            &mut || tls.borrow_mut().log_in(),
            &mut || tls.borrow_mut().curl(),
        ],
    );
    vec![
        Row::new(
            "unknown ticket, CAS by http",
            "ms",
            &us,
            ("curl", &curl),
            Better::Less,
        ),
        Row::new(
            "… by https",
            "ms",
            &us_tls,
            ("curl", &curl_tls),
            Better::Less,
        ),
    ]
}

impl Pair {
    fn new(cas: FaultyCas, scratch: &Scratch, kit: &Kit, authority: &Authority) -> Self {
        let ca = authority.write_ca(scratch).display().to_string();
        let state = scratch.join("state").display().to_string();
        let options = [
            ("caspt_url", cas.url().as_str()),
            ("caspt_ca_file", &ca),
            ("caspt_proxies", PROXY),
            ("sso_state_dir", &state),
        ]
        .map(|(name, value)| (name, value.to_owned()));
        let options = options
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let mut driver = kit.driver(scratch, &options);
        driver.ask("quiet 1");
        Self {
            cas,
            driver,
            scratch: scratch.clone(),
            authority: ca,
            asked: 0,
        }
    }

    /// The next ticket.
    fn next(&mut self) -> String {
        self.asked += 1;
        let ticket = format!("PT-first-{}", self.asked);
        self.cas.arm(&ticket, "user1", &[PROXY]);
        ticket
    }

    /// A login, in milliseconds.
    fn log_in(&mut self) -> f64 {
        let message = format!("\0\0{}", self.next());
        let command = format!("time CASPT 1 {}", hex(message.as_bytes()));
        self.driver.median(&command).as_secs_f64() * 1e3
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
        let output = self.scratch.run("curl", command, "");
        assert!(output.contains("user1"), "{output}");
        let seconds = output
            .lines()
            .last()
            .and_then(|line| line.parse::<f64>().ok());
        seconds.expect("the time that curl took") * 1e3
    }
}
