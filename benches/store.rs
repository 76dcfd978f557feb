//! Stores with as many sessions in them as wanted.

use crate::filling::Filling;
use crate::mail::Mail;
use crate::tokens::Tokens;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use test_support::libsasl2::site::PROXY;
use test_support::libsasl2::{Driver, Kit};
use test_support::scratch::{Scratch, set_mode};

/// So many of the credentials in a store are used, one after the other: more than a processor's
/// cache keeps the way to.
pub const USED: usize = 1_000;

/// `sso_sessions` by default.
const DEFAULT: usize = 100_000;

/// Where stores are made.
pub struct Maker<'m> {
    pub scratch: &'m Scratch,
    pub kit: &'m Kit,
}

/// A store, with a host that knows credentials by it.
pub struct Store {
    host: Host,
    filling: Filling,
    state: PathBuf,
    count: usize,
}

/// What a store takes, and the host that has it open.
pub struct Size {
    /// Sessions in it.
    pub sessions: usize,
    /// Of the host's memory, in kB: what is its own whatever others do.
    pub own: usize,
    /// And pages of files, most of them of the store: all processes have the same.
    pub mapped: usize,
    /// Of the file system, in kB.
    pub disk: u64,
}

/// A process with the plugin, and the mechanism of the credentials that are used.
struct Host {
    driver: Driver,
    mechanism: &'static str,
}

impl Maker<'_> {
    /// A store with `count` sessions. The tickets that will be used the CAS has validated.
    pub fn of_tickets(&self, mail: &Mail, name: &str, count: usize) -> Store {
        let tickets: Vec<String> = (1..=count.min(USED))
            .map(|number| format!("PT-{name}-{number}"))
            .collect();
        for ticket in &tickets {
            mail.cas.arm(ticket, "user1", &[PROXY]);
        }
        let messages: String = tickets
            .iter()
            .map(|ticket| format!("\0\0{ticket}\n"))
            .collect();
        let messages = self.scratch.write(format!("{name}.messages"), messages);
        let options = [
            ("caspt_url", mail.cas.url()),
            ("caspt_proxies", PROXY.to_owned()),
        ];
        self.filled(name, count, "CASPT", &messages, options.to_vec())
    }

    /// The same of one session in a directory where there is something else in the place of the
    /// counters, as there is in that of `other`: no login is counted.
    pub fn of_tickets_uncounted(&self, mail: &Mail, name: &str, other: &str) -> Store {
        let entries = fs::read_dir(self.scratch.join(format!("state-{other}")));
        let names = entries.expect("a state directory").map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("a name")
        });
        let mut counters = names.filter(|name| name.starts_with("counters-"));
        let counters = counters.next().expect("counters");
        let state = self.scratch.create_dir(format!("state-{name}"));
        set_mode(&state, 0o700);
        fs::create_dir(state.join(counters)).expect("something in their place");
        self.of_tickets(mail, name, 1)
    }

    /// A store with `count` sessions. The tokens that will be used were validated.
    pub fn of_tokens(&self, tokens: &Tokens, name: &str, count: usize) -> Store {
        let messages = tokens.messages(self.scratch, name, count.min(USED));
        let options = tokens.options(self.scratch, name);
        self.filled(name, count, "OAUTHBEARER", &messages, options)
    }

    fn filled(
        &self,
        name: &str,
        count: usize,
        mechanism: &'static str,
        messages: &Path,
        mut options: Vec<(&'static str, String)>,
    ) -> Store {
        let state = self.scratch.join(format!("state-{name}"));
        options.push(("sso_state_dir", state.display().to_string()));
        // As by default, or as many as there are, and one that opens another.
        options.push(("sso_sessions", (count + 1_000).max(DEFAULT).to_string()));
        let options: Vec<(&str, &str)> = options
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut driver = self.kit.driver(self.scratch, &options);
        driver.ask("quiet 1");
        driver.ask(&format!("messages {}", messages.display()));
        let mut host = Host { driver, mechanism };
        let used = count.min(USED);
        host.walk(used);
        let table = match mechanism {
            "CASPT" => "tickets",
            _ => "tokens",
        };
        let mut filling = Filling::of(&state, table);
        filling.write(count - used);
        Store {
            host,
            filling,
            state,
            count,
        }
    }
}

impl Store {
    /// So many logins with the credentials: the median in microseconds.
    pub fn walk(&mut self, count: usize) -> f64 {
        self.host.walk(count)
    }

    /// The same while what is decided is told to the log.
    pub fn walk_aloud(&mut self, count: usize) -> f64 {
        self.host.driver.ask("quiet 0");
        let time = self.walk(count);
        self.host.driver.ask("quiet 1");
        time
    }

    /// What it takes.
    pub fn size(&self) -> Size {
        let path = format!("/proc/{}/smaps_rollup", self.host.driver.pid());
        let text = fs::read_to_string(path).expect("a process");
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        let (all, own): (usize, usize) = (field("Rss:"), field("Anonymous:"));
        let entries = fs::read_dir(&self.state).expect("the state directory");
        let blocks = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.blocks()));
        Size {
            sessions: self.count,
            own,
            mapped: all - own,
            disk: blocks.sum::<u64>() / 2,
        }
    }

    /// The same while this process opens sessions as fast as it can, in a transaction each, as the
    /// plugin does. How many a second comes second.
    pub fn walk_beside_a_writer(&mut self, count: usize) -> (f64, f64) {
        let Self { host, filling, .. } = self;
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| host.walk(count));
            let (start, before) = (Instant::now(), filling.written());
            while !reader.is_finished() {
                filling.write(1);
            }
            let rate = (filling.written() - before) as f64 / start.elapsed().as_secs_f64();
            (reader.join().expect("the time of the logins"), rate)
        })
    }
}

impl Host {
    fn walk(&mut self, count: usize) -> f64 {
        let command = format!("walk {} {count}", self.mechanism);
        self.driver.median(&command).as_secs_f64() * 1e6
    }
}
