//! The subcommands of `sasl-sso`: the daemon, and the tools for administrators.

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
use clap::{Command, CommandFactory, Parser};

use crate::term::console::Console;
use sso_core::credential::CredentialKind;

/// Single sign-on for Cyrus IMAP: the daemon and the administrator's tools.
#[derive(Parser)]
#[command(name = "sasl-sso", version, max_term_width = 80)]
struct Program {
    #[command(subcommand)]
    subcommand: Subcommand,
}

#[derive(clap::Subcommand)]
enum Subcommand {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Login(login::Arguments),
    Serve(serve::Arguments),
    Sessions(sessions::Arguments),
    Completions(completions::Arguments),
}

/// The definition of the command line, for the manual page and the shell completions.
pub fn command() -> Command {
    Program::command()
}

/// The exit status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The command succeeded, and found no fault.
    Success = 0,
    /// A fault was found, or a login was refused.
    Failure = 1,
    /// The command could not get a result.
    Error = 2,
}

/// Runs the program. The first argument is the program's own name.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let mut console = Console::for_process();
    if arguments.iter().any(is_credential) {
        console.print_error(CREDENTIAL_AS_ARGUMENT);
        return ExitCode::from(ExitStatus::Error as u8);
    }
    let program = match Program::try_parse_from(&arguments) {
        Ok(program) => program,
        Err(error) => {
            let error = hide_password(error, &arguments);
            // This prints help and version too. A failure to write cannot be reported.
            let _ = error.print();
            let status = if error.use_stderr() {
                ExitStatus::Error
            } else {
                ExitStatus::Success
            };
            return ExitCode::from(status as u8);
        }
    };
    ExitCode::from(program.subcommand.run(&mut console) as u8)
}

impl Subcommand {
    fn run(&self, console: &mut Console) -> ExitStatus {
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

/// The error for a credential on the command line. It does not repeat the credential.
const CREDENTIAL_AS_ARGUMENT: &str = "error: a ticket or a token is no argument: everybody on this host sees \
                           those, and the shell keeps them. It comes on standard input, or by \
                           --file (a file of such a name: ./NAME)";

/// Whether an argument, or the value of an option, is a credential.
fn is_credential(argument: &OsString) -> bool {
    let argument = argument.to_string_lossy();
    let value = match argument.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => argument.trim_start_matches('-'),
    };
    CredentialKind::of_password(value.as_bytes()).is_some()
}

/// The error for a wrong command line. For the commands that read a credential, an unexpected
/// argument may be a password, so it is not printed.
fn hide_password(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let reads_credential = arguments
        .get(1)
        .is_some_and(|name| name == "explain" || name == "login");
    let is_word = |value: &ContextValue| match value {
        ContextValue::String(word) => !word.starts_with('-'),
        _ => false,
    };
    if reads_credential
        && error.kind() == ErrorKind::UnknownArgument
        && error.get(ContextKind::InvalidArg).is_some_and(is_word)
    {
        let hidden = ContextValue::String("…".to_owned());
        error.insert(ContextKind::InvalidArg, hidden);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_detected_in_every_argument() {
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
    fn unexpected_argument_is_hidden_if_it_may_be_a_password() {
        let error_of = |command: &str| {
            let arguments = ["sasl-sso", command, "pa55word"].map(OsString::from);
            let error = Program::try_parse_from(&arguments).err().unwrap();
            hide_password(error, &arguments).to_string()
        };
        for command in ["explain", "login"] {
            let error = error_of(command);
            assert!(error.contains("unexpected argument"), "{error}");
            assert!(!error.contains("pa55word"), "{error}");
        }
        assert!(error_of("check").contains("pa55word"));
    }

    #[test]
    fn json_is_printed_even_if_the_command_fails() {
        for line in [
            &["check", "--config", "/missing/imapd.conf"][..],
            &["explain", "--config", "/missing/imapd.conf"],
            &["login", "--imap", "localhost", "--file", "/missing/ticket"],
        ] {
            let words = ["sasl-sso"].iter().chain(line).chain(&["--json"]);
            let program = Program::try_parse_from(words).ok().unwrap();
            let (mut console, out, _) = Console::for_test("");
            assert_eq!(program.subcommand.run(&mut console), ExitStatus::Error);
            let document: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
            let problem = document["problem"].as_str().unwrap();
            assert!(problem.contains("/missing/"), "{document}");
        }
    }

    #[test]
    fn command_line_definition_is_consistent() {
        command().debug_assert();
    }
}
