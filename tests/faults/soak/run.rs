//! The threads of a run and their shared state.

use super::ledger::Ledger;
use super::pool::CredentialPool;
use super::servers::SoakServers;
use super::tally::Tally;
use std::thread;
use std::time::{Duration, Instant};
use test_support::dice::Dice;
use test_support::https_server::End;
use test_support::mint::SigningKey;

/// Number of concurrent connections.
pub const CONNECTIONS: usize = 40;

/// Interval at which figures are reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// One run of the soak test.
pub struct Run<'s> {
    pub servers: &'s SoakServers,
    pub pool: &'s CredentialPool,
    pub ledger: &'s Ledger,
    pub tally: &'s Tally,
    /// A key that no issuer publishes.
    pub forger: &'s SigningKey,
    /// Ends the clients.
    pub end: End,
    /// Ends the outages. This happens before `end`, so that all servers are up when the clients
    /// end.
    pub outages_end: End,
    /// The factor by which outages are more frequent than in a run of an hour.
    pub pace: u32,
}

/// Ends the run if its thread panics.
struct EndsIfPanicking<'r>(&'r Run<'r>);

impl Drop for EndsIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.outages_end.come();
            self.0.end.come();
        }
    }
}

impl Run<'_> {
    /// Runs all connections for this time, with or without outages, and calls `report` at
    /// intervals.
    pub fn go(
        &self,
        time: Duration,
        seed: u64,
        with_outages: bool,
        mut report: impl FnMut(Duration),
    ) {
        let begin = Instant::now();
        thread::scope(|scope| {
            let _guard = EndsIfPanicking(self);
            let spawn = |whose: usize, part: fn(&Self, Dice)| {
                scope.spawn(move || {
                    let _guard = EndsIfPanicking(self);
                    part(self, Dice::of(seed, whose));
                })
            };
            for number in 0..CONNECTIONS {
                spawn(number, Self::keep_connecting);
            }
            spawn(CONNECTIONS, Self::fetch_tickets);
            spawn(CONNECTIONS + 1, Self::fetch_tokens);
            let disruptors: [fn(&Self, Dice); 4] = [
                Self::disrupt_cas,
                Self::disrupt_issuer,
                Self::disrupt_cyrus,
                Self::disrupt_daemon,
            ];
            let disruptors = disruptors.iter().filter(|_| with_outages).enumerate();
            let disruptors: Vec<_> = disruptors
                .map(|(number, part)| spawn(CONNECTIONS + 2 + number, *part))
                .collect();
            loop {
                let left = time.saturating_sub(begin.elapsed());
                if left.is_zero() || !self.end.sleep(left.min(REPORT_INTERVAL)) {
                    break;
                }
                report(begin.elapsed());
            }
            self.outages_end.come();
            for disruptor in disruptors {
                if let Err(panic) = disruptor.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            self.end.come();
        });
    }
}
