//! The program `sasl-sso`: the daemon, and what an administrator asks before and
//! after.

#![forbid(unsafe_code)]

mod check;
mod completions;
mod conf_file;
mod console;
mod explain;
mod host;
mod login;
mod serve;
mod sessions;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Command, CommandFactory, Parser, Subcommand};

use console::Console;

/// Single sign-on for Cyrus IMAP: the daemon, and the administrator's tools.
#[derive(Parser)]
#[command(name = "sasl-sso", version, max_term_width = 80)]
struct Program {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Login(login::Arguments),
    Serve(serve::Arguments),
    Sessions(sessions::Arguments),
    Completions(completions::Arguments),
}

/// All that the program can be told: what its manual page and completions are of.
pub fn command() -> Command {
    Program::command()
}

/// What a command comes to, as its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// It is as it should be.
    Good = 0,
    /// It is not: a fault was found, a login refused.
    Bad = 1,
    /// It could not be found out.
    Unusable = 2,
}

/// Runs the program with these arguments, the program's own name before them.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let program = match Program::try_parse_from(arguments) {
        Ok(program) => program,
        Err(answer) => {
            // Help and the version too; nobody is left if it cannot be written.
            let _ = answer.print();
            let status = if answer.use_stderr() {
                Status::Unusable
            } else {
                Status::Good
            };
            return ExitCode::from(status as u8);
        }
    };
    let mut console = Console::of_process();
    let status = match &program.order {
        Order::Check(arguments) => check::run(arguments, &mut console),
        Order::Explain(arguments) => explain::run(arguments, &mut console),
        Order::Login(arguments) => login::run(arguments, &mut console),
        Order::Serve(arguments) => serve::run(arguments, &mut console),
        Order::Sessions(arguments) => sessions::run(arguments, &mut console),
        Order::Completions(arguments) => completions::run(arguments, &mut console),
    };
    ExitCode::from(status as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_without_contradiction() {
        command().debug_assert();
    }
}
