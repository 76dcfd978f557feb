//! The program `sasl-sso`: what an administrator asks before and after.

#![forbid(unsafe_code)]

mod check;
mod imapd_conf;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: sasl-sso check [--config FILE] [--service NAME]
       sasl-sso --version | --help

check   Reads an imapd.conf (default: /etc/imapd.conf) as the plugin will, and
        names every fault in the options of single sign-on, also of services
        that have options of their own (pop3_sasl_…). With --service it looks at
        one service alone, by its name in cyrus.conf.
        Exit status: 0 without fault, 1 with faults, 2 if it cannot be read.
";

/// What the program says, and its exit status.
struct Answer {
    out: String,
    err: String,
    status: u8,
}

impl Answer {
    fn unusable(problem: impl Into<String>) -> Self {
        Self {
            out: String::new(),
            err: problem.into(),
            status: 2,
        }
    }
}

/// Runs the program with these arguments.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match words[..] {
        ["check", ref rest @ ..] => check::run(rest),
        ["--version"] => said(concat!("sasl-sso ", env!("CARGO_PKG_VERSION"), "\n")),
        ["--help" | "-h" | "help"] => said(USAGE),
        _ => Answer::unusable(USAGE),
    };
    // Nobody is left to be told that the output cannot be written.
    let _ = std::io::stdout().write_all(answer.out.as_bytes());
    let _ = std::io::stderr().write_all(answer.err.as_bytes());
    ExitCode::from(answer.status)
}

fn said(text: &str) -> Answer {
    Answer {
        out: text.to_owned(),
        err: String::new(),
        status: 0,
    }
}
