//! Counting: the driver under callgrind, which writes down what it counted whenever the driver is
//! asked for its mechanisms.

use crate::tokens::Tokens;
use std::fs;
use std::path::{Path, PathBuf};
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::{Driver, Kit};
use test_support::scratch::Scratch;

/// Logins of which one is the mean.
const LOGINS: usize = 40;
/// Those before: the first of them make the store, the others open it and ask or read keys for the
/// first time.
const MAKING: usize = 1;
const BEFORE: usize = 4;

/// What is counted, and in which function of libsasl2's.
const LOGIN: &str = "sasl_server_start";
const END: &str = "sasl_dispose";
const LOAD: &str = "sasl_server_init";
const EVERYTHING: &str = "";

/// Figures, by what they are of.
pub type Counts = Vec<(String, u64)>;

/// Where it is counted.
pub struct Counter<'s> {
    scratch: &'s Scratch,
    kit: Kit,
}

/// A driver under callgrind.
struct Run {
    driver: Driver,
    /// The beginning of the names of what callgrind writes.
    report: PathBuf,
    parts: usize,
}

impl<'s> Counter<'s> {
    pub fn new(scratch: &'s Scratch) -> Self {
        let kit = Kit::new(scratch);
        Self { scratch, kit }
    }

    /// A login with a ticket that CAS is asked about, and with one that is known.
    pub fn tickets(&self) -> Counts {
        let [new, known] = self.of_tickets("tickets", LOGIN);
        vec![
            ("known ticket".to_owned(), known),
            ("new ticket".to_owned(), new),
        ]
    }

    /// A ticket that CAS is asked about, in all threads and with its whole connection: another
    /// thread asks.
    pub fn asking(&self) -> Counts {
        let [new, _] = self.of_tickets("asking", EVERYTHING);
        vec![("and the thread that asks".to_owned(), new)]
    }

    fn of_tickets(&self, name: &str, function: &str) -> [u64; 2] {
        let cas = FaultyCas::start_plain();
        let tickets: Vec<String> = (0..BEFORE + LOGINS)
            .map(|number| format!("PT-{number:03}-instructions"))
            .collect();
        for ticket in &tickets {
            cas.arm(ticket, "user1", &[PROXY]);
        }
        let messages = tickets.iter().map(|ticket| format!("\0\0{ticket}\n"));
        let messages = self
            .scratch
            .write(format!("{name}.messages"), messages.collect::<String>());
        let options = [
            ("caspt_url", cas.url()),
            ("caspt_proxies", PROXY.to_owned()),
            // Everything takes fifty times as long here.
            ("caspt_timeout", "60".to_owned()),
        ];
        self.new_and_known(name, function, options.to_vec(), "CASPT", &messages)
    }

    /// The same with tokens, and the end of the connection that a new one opened.
    pub fn tokens(&self, algorithm: &str) -> Counts {
        let tokens = Tokens::minted(algorithm, BEFORE + LOGINS);
        let messages = tokens.messages(self.scratch, algorithm, usize::MAX);
        let options = || tokens.options(self.scratch, algorithm);
        let counted = |name: &str, function| {
            self.new_and_known(name, function, options(), "OAUTHBEARER", &messages)
        };
        let [new, known] = counted(algorithm, LOGIN);
        let mut counts = vec![(format!("new token, {algorithm}"), new)];
        if algorithm == "RS256" {
            let [end, _] = counted("end", END);
            counts.insert(0, ("known token".to_owned(), known));
            counts.push(("its connection's end".to_owned(), end));
        }
        counts
    }

    /// Loading it where no option is set: what libsasl2 does more than without.
    pub fn loading(&self) -> Counts {
        let empty = self.scratch.create_dir("empty");
        let mut with = self.run("loading", LOAD, self.kit.directory(), &[]);
        let mut without = self.run("idle", LOAD, &empty, &[]);
        let loading = with.part() - without.part();
        vec![("loading, not configured".to_owned(), loading)]
    }

    /// What a login takes with each of these messages when it is new, and when it is known.
    fn new_and_known(
        &self,
        name: &str,
        function: &str,
        mut options: Vec<(&'static str, String)>,
        mechanism: &str,
        messages: &Path,
    ) -> [u64; 2] {
        let state = self.scratch.join(format!("state-{name}"));
        options.push(("sso_state_dir", state.display().to_string()));
        let options: Vec<(&str, &str)> = options
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let messages = format!("messages {}", messages.display());
        // To make a store takes random numbers, and a hundred times as long as all the rest.
        let mut making = self.kit.driver(self.scratch, &options);
        making.ask("quiet 1");
        making.ask(&messages);
        making.median(&format!("walk {mechanism} {MAKING}"));
        making.end();

        let mut run = self.run(name, function, self.kit.directory(), &options);
        run.driver.ask(&messages);
        let walk = |driver: &mut Driver, count| {
            driver.median(&format!("walk {mechanism} {count}"));
        };
        walk(&mut run.driver, BEFORE);
        run.part();
        walk(&mut run.driver, LOGINS);
        let new = run.part();
        // And from the first on again.
        walk(&mut run.driver, LOGINS);
        let known = run.part();
        [new, known].map(|count| count / LOGINS as u64)
    }

    fn run(&self, name: &str, function: &str, plugins: &Path, options: &[(&str, &str)]) -> Run {
        let report = self.scratch.join(format!("{name}.callgrind"));
        let mut wrapper = vec![
            "valgrind".to_owned(),
            "--quiet".to_owned(),
            // Its pipes in /tmp would outlive it.
            "--vgdb=no".to_owned(),
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", report.display()),
            "--dump-before=sasl_listmech".to_owned(),
        ];
        if function != EVERYTHING {
            wrapper.push(format!("--toggle-collect={function}"));
        }
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut driver = self.kit.driver_in(self.scratch, plugins, &wrapper, options);
        driver.ask("quiet 1");
        Run {
            driver,
            report,
            parts: 0,
        }
    }
}

impl Run {
    /// What was counted since this was last asked.
    fn part(&mut self) -> u64 {
        self.driver.ask("list");
        self.parts += 1;
        let part = format!("{}.{}", self.report.display(), self.parts);
        let text = fs::read_to_string(&part).expect("what callgrind wrote");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.unwrap_or_else(|| panic!("no total in {part}"))
    }
}
