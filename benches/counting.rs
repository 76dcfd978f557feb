//! What it costs that logins are counted: a known ticket beside the same where the counters' place
//! is taken by something else, so that the plugin goes on without them. Both are the plugin as it is
//! shipped.
//!
//! Two processes differ by more than an addition takes, for each has its memory elsewhere. So there
//! are several of either kind, and a round's figure is what all of one kind come to.

use crate::mail::Mail;
use crate::measure::rounds;
use crate::store::{Maker, Store};
use crate::table::{Better, Row};
use test_support::libsasl2::Kit;
use test_support::scratch::Scratch;

const ROUNDS: usize = 41;
/// Of each kind.
const PROCESSES: usize = 6;
/// Logins of one process in one round.
const LOGINS: usize = 3_000;

/// The rows of the table.
pub fn rows(mail: &Mail) -> Vec<Row> {
    let scratch = Scratch::new("bench-counting");
    let kit = Kit::new(&scratch);
    let stores = Maker {
        scratch: &scratch,
        kit: &kit,
    };
    let (mut counted, mut uncounted) = (Vec::new(), Vec::new());
    for number in 0..PROCESSES {
        let name = format!("counted{number}");
        counted.push(stores.of_tickets(mail, &name, 1));
        let other = format!("uncounted{number}");
        uncounted.push(stores.of_tickets_uncounted(mail, &other, &name));
    }
    let [with, without] = rounds(
        ROUNDS,
        [&mut || mean(&mut counted), &mut || mean(&mut uncounted)],
    );
    let beside = ("not counted", &without);
    vec![Row::new(
        "known ticket, counted",
        "ns",
        &with,
        beside,
        Better::Less,
    )]
}

fn mean(stores: &mut [Store]) -> f64 {
    let times = stores.iter_mut().map(|store| store.walk(LOGINS));
    1e3 * times.sum::<f64>() / PROCESSES as f64
}
