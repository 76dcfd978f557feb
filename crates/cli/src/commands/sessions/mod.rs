//! `sasl-sso sessions`: who is logged in by single sign-on, how it goes, and out with
//! someone.

#![forbid(unsafe_code)]

pub(crate) mod flush;
pub(crate) mod list;
pub(crate) mod prometheus;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod times;

use clap::{Args, Subcommand};

use super::Status;
use crate::term::console::Console;

/// Who is known by a ticket or token, and no longer; and counts of all logins.
///
/// The sessions and counters are those of the host, in sso_state_dir: all its
/// processes share them, and the next boot begins without. Run it as root, or as who
/// owns that directory (cyrus). Exit status: 0 when done, 2 if there is nothing there or
/// it cannot be used.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    List(list::Arguments),
    Flush(flush::Arguments),
    Stats(stats::Arguments),
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    let answered = match &arguments.order {
        Order::List(arguments) => list::run(arguments, console),
        Order::Flush(arguments) => flush::run(arguments, console),
        Order::Stats(arguments) => stats::run(arguments, console),
    };
    answered.unwrap_or_else(|problem| {
        console.complain(format_args!("sessions: {problem}"));
        Status::Unusable
    })
}
