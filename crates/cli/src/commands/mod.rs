//! The program `sasl-sso`: the daemon, and what an administrator asks before and
//! after.

#![forbid(unsafe_code)]

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod login;
pub(crate) mod serve;
pub(crate) mod sessions;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Parser, Subcommand};

use crate::term::console::Console;
use sso_core::credential::CredentialKind;

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
pub(crate) enum Status {
    /// It is as it should be.
    Good = 0,
    /// It is not: a fault was found, a login refused.
    Bad = 1,
    /// It could not be found out.
    Unusable = 2,
}

/// Runs the program with these arguments, the program's own name before them.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let mut console = Console::of_process();
    if arguments.iter().any(is_credential) {
        console.complain(NO_ARGUMENT);
        return ExitCode::from(Status::Unusable as u8);
    }
    let program = match Program::try_parse_from(&arguments) {
        Ok(program) => program,
        Err(answer) => {
            let answer = discreet(answer, &arguments);
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
    ExitCode::from(program.order.run(&mut console) as u8)
}

impl Order {
    fn run(&self, console: &mut Console) -> Status {
        match self {
            Self::Check(arguments) => check::run(arguments, console),
            Self::Explain(arguments) => explain::run(arguments, console),
            Self::Login(arguments) => login::run(arguments, console),
            Self::Serve(arguments) => serve::run(arguments, console),
            Self::Sessions(arguments) => sessions::run(arguments, console),
            Self::Completions(arguments) => completions::run(arguments, console),
        }
    }
}

/// What is said of a credential on the command line, and not which it is.
const NO_ARGUMENT: &str = "error: a ticket or a token is no argument: everybody on this host sees \
                           those, and the shell keeps them. It comes on standard input, or by \
                           --file (a file of such a name: ./NAME)";

/// Whether it is a credential, also behind the name of an option.
fn is_credential(argument: &OsString) -> bool {
    let argument = argument.to_string_lossy();
    let value = match argument.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => argument.trim_start_matches('-'),
    };
    CredentialKind::of_password(value.as_bytes()).is_some()
}

/// The answer to a wrong command line. Where a credential is asked for, a word that
/// is out of place may be a password, and is not said again.
fn discreet(mut answer: clap::Error, arguments: &[OsString]) -> clap::Error {
    let asks = arguments
        .get(1)
        .is_some_and(|order| order == "explain" || order == "login");
    let is_word = |value: &ContextValue| match value {
        ContextValue::String(word) => !word.starts_with('-'),
        _ => false,
    };
    if asks
        && answer.kind() == ErrorKind::UnknownArgument
        && answer.get(ContextKind::InvalidArg).is_some_and(is_word)
    {
        let hidden = ContextValue::String("…".to_owned());
        answer.insert(ContextKind::InvalidArg, hidden);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_known_wherever_it_stands_among_the_arguments() {
        for argument in [
            "PT-12345",
            "--file=ST-1-abc",
            "--PT-12345",
            "e30.e30.c2ln",
            "Bearer e30.e30.c2ln",
        ] {
            assert!(is_credential(&argument.into()), "{argument}");
        }
        for argument in ["login", "--imap", "mail.univ.fr:143", "./PT-12345", "-"] {
            assert!(!is_credential(&argument.into()), "{argument}");
        }
    }

    #[test]
    fn a_word_out_of_place_is_not_said_again_where_it_may_be_a_password() {
        let said = |order: &str| {
            let arguments = ["sasl-sso", order, "pa55word"].map(OsString::from);
            let answer = Program::try_parse_from(&arguments).err().unwrap();
            discreet(answer, &arguments).to_string()
        };
        for order in ["explain", "login"] {
            let said = said(order);
            assert!(said.contains("unexpected argument"), "{said}");
            assert!(!said.contains("pa55word"), "{said}");
        }
        assert!(said("check").contains("pa55word"));
    }

    #[test]
    fn who_wants_json_has_it_also_if_nothing_could_be_done() {
        for line in [
            &["check", "--config", "/missing/imapd.conf"][..],
            &["explain", "--config", "/missing/imapd.conf"],
            &["login", "--imap", "localhost", "--file", "/missing/ticket"],
        ] {
            let words = ["sasl-sso"].iter().chain(line).chain(&["--json"]);
            let program = Program::try_parse_from(words).ok().unwrap();
            let (mut console, out, _) = Console::of_test("");
            assert_eq!(program.order.run(&mut console), Status::Unusable);
            let said: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
            let problem = said["problem"].as_str().unwrap();
            assert!(problem.contains("/missing/"), "{said}");
        }
    }

    #[test]
    fn the_command_line_is_without_contradiction() {
        command().debug_assert();
    }
}
