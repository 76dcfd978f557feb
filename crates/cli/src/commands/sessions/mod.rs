//! `sasl-sso sessions`: lists and ends cached sessions, and shows login statistics.

#![forbid(unsafe_code)]

pub(crate) mod flush;
pub(crate) mod list;
pub(crate) mod prometheus;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod times;

use clap::Args;

use super::ExitStatus;
use crate::term::console::Console;

/// List and revoke cached sessions; show login statistics.
///
/// Sessions and counters are those of this host, in sso_state_dir. All processes share them, and a
/// reboot removes them. Run the command as root, or as the owner of that directory (cyrus). Exit
/// status: 0 on success, 2 if there is no session cache or it cannot be used.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(clap::Subcommand)]
enum Subcommand {
    List(list::Arguments),
    Flush(flush::Arguments),
    Stats(stats::Arguments),
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
    let result = match &arguments.subcommand {
        Subcommand::List(arguments) => list::run(arguments, console),
        Subcommand::Flush(arguments) => flush::run(arguments, console),
        Subcommand::Stats(arguments) => stats::run(arguments, console),
    };
    result.unwrap_or_else(|problem| {
        console.print_error(format_args!("sessions: {problem}"));
        ExitStatus::Error
    })
}
