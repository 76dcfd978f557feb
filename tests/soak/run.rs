//! What all who take part in a run share.

use super::ledger::Ledger;
use super::site::Site;
use super::stock::Stock;
use super::tally::Tally;
use crate::harness::dice::Dice;
use crate::harness::https_server::End;
use crate::harness::mint::SigningKey;
use std::thread;
use std::time::{Duration, Instant};

/// How many connections there are at any time.
pub const CONNECTIONS: usize = 40;

/// How often figures are taken.
const MINUTE: Duration = Duration::from_secs(60);

/// A part of the soak.
pub struct Run<'s> {
    pub site: &'s Site,
    pub stock: &'s Stock,
    pub ledger: &'s Ledger,
    pub tally: &'s Tally,
    /// Of who signs tokens and is nobody's issuer.
    pub forger: &'s SigningKey,
    /// For who takes part.
    pub end: End,
    /// For who plays outages, earlier: all is up again before the others end.
    pub peace: End,
    /// So many times as many outages as there are in an hour's run.
    pub pace: u32,
}

/// Ends the run if the thread that has it panics.
struct EndsIfPanicking<'r>(&'r Run<'r>);

impl Drop for EndsIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.peace.come();
            self.0.end.come();
        }
    }
}

impl Run<'_> {
    /// Logs in by all connections for so long, with outages or without; `each_minute` is called now
    /// and then.
    pub fn go(
        &self,
        time: Duration,
        seed: u64,
        with_outages: bool,
        mut each_minute: impl FnMut(Duration),
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
                spawn(number, Self::keep_a_connection);
            }
            spawn(CONNECTIONS, Self::fetch_tickets);
            spawn(CONNECTIONS + 1, Self::fetch_tokens);
            let players: [fn(&Self, Dice); 4] = [
                Self::trouble_cas,
                Self::trouble_the_issuer,
                Self::trouble_cyrus,
                Self::trouble_the_daemon,
            ];
            let players = players.iter().filter(|_| with_outages).enumerate();
            let players: Vec<_> = players
                .map(|(number, part)| spawn(CONNECTIONS + 2 + number, *part))
                .collect();
            loop {
                let left = time.saturating_sub(begin.elapsed());
                if left.is_zero() || !self.end.sleep(left.min(MINUTE)) {
                    break;
                }
                each_minute(begin.elapsed());
            }
            self.peace.come();
            for player in players {
                if let Err(panic) = player.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            self.end.come();
        });
    }
}
