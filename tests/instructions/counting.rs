//! Runs the driver under callgrind, which writes its counts whenever the driver lists its
//! mechanisms.

use crate::tokens::Tokens;
use std::fs;
use std::path::{Path, PathBuf};
use test_support::faulty_cas::FaultyCas;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::{Driver, Kit};
use test_support::scratch::Scratch;

/// Number of logins that a figure is the mean of.
const LOGINS: usize = 40;
/// Number of logins that are not counted: the first ones create the store, the others open it and
/// fetch or read keys for the first time.
const LOGINS_THAT_CREATE_THE_STORE: usize = 1;
const WARM_UP_LOGINS: usize = 4;

/// The functions of libsasl2 in which instructions are counted.
const LOGIN: &str = "sasl_server_start";
const END: &str = "sasl_dispose";
const LOAD: &str = "sasl_server_init";
const EVERYTHING: &str = "";

/// Counts with their names.
pub type Counts = Vec<(String, u64)>;

/// Runs counts in a scratch directory.
pub struct Counter<'s> {
    scratch: &'s Scratch,
    kit: Kit,
}

/// A driver under callgrind.
struct Run {
    driver: Driver,
    /// The common prefix of the names of callgrind's output files.
    report: PathBuf,
    parts: usize,
}

impl<'s> Counter<'s> {
    pub fn new(scratch: &'s Scratch) -> Self {
        let kit = Kit::new(scratch);
        Self { scratch, kit }
    }

    /// Counts a login with a ticket that is validated, and with a cached one.
    pub fn tickets(&self) -> Counts {
        let [new, known] = self.count_tickets("tickets", LOGIN);
        vec![
            ("known ticket".to_owned(), known),
            ("new ticket".to_owned(), new),
        ]
    }

    /// Counts the validation of a ticket in all threads, because another thread connects to CAS.
    pub fn validation_in_all_threads(&self) -> Counts {
        let [new, _] = self.count_tickets("asking", EVERYTHING);
        vec![("and the thread that asks".to_owned(), new)]
    }

    fn count_tickets(&self, name: &str, function: &str) -> [u64; 2] {
        let cas = FaultyCas::start_plain();
        let tickets: Vec<String> = (0..WARM_UP_LOGINS + LOGINS)
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
            // Everything takes fifty times as long under callgrind.
            ("caspt_timeout", "60".to_owned()),
        ];
        self.new_and_cached(name, function, options.to_vec(), "CASPT", &messages)
    }

    /// Counts logins by new and cached tokens, and the end of a connection that used a new one.
    pub fn tokens(&self, algorithm: &str) -> Counts {
        let tokens = Tokens::minted(algorithm, WARM_UP_LOGINS + LOGINS);
        let messages = tokens.messages(self.scratch, algorithm, usize::MAX);
        let options = || tokens.options(self.scratch, algorithm);
        let counted = |name: &str, function| {
            self.new_and_cached(name, function, options(), "OAUTHBEARER", &messages)
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

    /// Counts loading the unconfigured plugin, as the difference to libsasl2 without plugins.
    pub fn loading(&self) -> Counts {
        let empty = self.scratch.create_dir("empty");
        let mut configured = self.run("loading", LOAD, self.kit.directory(), &[]);
        let mut baseline = self.run("idle", LOAD, &empty, &[]);
        let loading = configured.part() - baseline.part();
        vec![("loading, not configured".to_owned(), loading)]
    }

    /// Counts a login with each of these messages when it is new, and when it is cached; returns
    /// the means.
    fn new_and_cached(
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
        // Creating a store uses random numbers, and takes a hundred times as long as everything
        // else.
        let mut creating = self.kit.driver(self.scratch, &options);
        creating.ask("quiet 1");
        creating.ask(&messages);
        creating.median(&format!("walk {mechanism} {LOGINS_THAT_CREATE_THE_STORE}"));
        creating.end();

        let mut run = self.run(name, function, self.kit.directory(), &options);
        run.driver.ask(&messages);
        let log_in = |driver: &mut Driver, count| {
            driver.median(&format!("walk {mechanism} {count}"));
        };
        log_in(&mut run.driver, WARM_UP_LOGINS);
        run.part();
        log_in(&mut run.driver, LOGINS);
        let new = run.part();
        // The same messages again, which are cached now.
        log_in(&mut run.driver, LOGINS);
        let known = run.part();
        [new, known].map(|count| count / LOGINS as u64)
    }

    fn run(&self, name: &str, function: &str, plugins: &Path, options: &[(&str, &str)]) -> Run {
        let report = self.scratch.join(format!("{name}.callgrind"));
        let mut wrapper = vec![
            "valgrind".to_owned(),
            "--quiet".to_owned(),
            // valgrind's pipes in /tmp would outlive it.
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
    /// The instructions counted since the last call.
    fn part(&mut self) -> u64 {
        self.driver.ask("list");
        self.parts += 1;
        let part = format!("{}.{}", self.report.display(), self.parts);
        let text = fs::read_to_string(&part).expect("callgrind's output");
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.unwrap_or_else(|| panic!("no total in {part}"))
    }
}
