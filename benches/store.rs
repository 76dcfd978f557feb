//! Stores with as many sessions in them as wanted.

use crate::filling::Filling;
use crate::harness::scratch::Scratch;
use crate::libsasl2::site::PROXY;
use crate::libsasl2::{Driver, Kit};
use crate::mail::Mail;
use std::time::Instant;

/// So many of the tickets in a store are used, one after the other: more than a processor's cache
/// keeps the way to.
const USED: usize = 1_000;

/// A store, with a host that knows tickets by it.
pub struct Store {
    host: Host,
    filling: Filling,
}

/// A process with the plugin, and the tickets that are used.
struct Host {
    driver: Driver,
    prefix: String,
    tickets: usize,
}

impl Store {
    /// A store with `count` sessions. Those of them that will be used the CAS has validated.
    pub fn filled(scratch: &Scratch, kit: &Kit, mail: &Mail, name: &str, count: usize) -> Self {
        let state = scratch.join(format!("state-{name}"));
        let (url, path) = (mail.cas.url(), state.display().to_string());
        let options = [
            ("caspt_url", url.as_str()),
            ("caspt_proxies", PROXY),
            ("sso_state_dir", &path),
        ];
        let mut host = Host {
            driver: kit.driver(scratch, &options),
            prefix: format!("PT-{name}-"),
            tickets: count.min(USED),
        };
        host.driver.ask("quiet 1");
        for number in 1..=host.tickets {
            let ticket = format!("{}{number}", host.prefix);
            mail.cas.arm(&ticket, "user1", &[PROXY]);
        }
        host.walk(host.tickets);
        let mut filling = Filling::of(&state);
        filling.write(count - host.tickets);
        Self { host, filling }
    }

    /// So many logins with the tickets: the median in microseconds.
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

    /// The same while this process opens sessions as fast as it can, in a transaction each, as the
    /// plugin does. How many a second comes second.
    pub fn walk_beside_a_writer(&mut self, count: usize) -> (f64, f64) {
        let Self { host, filling } = self;
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
        let command = format!("walk CASPT {count} {} {}", self.prefix, self.tickets);
        self.driver.median(&command).as_secs_f64() * 1e6
    }
}
