//! The program `sasl-sso`: the daemon, and what an administrator asks before and
//! after.

#![forbid(unsafe_code)]

mod check;
mod conf_file;
mod serve;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: sasl-sso check [--config FILE] [--service NAME]
       sasl-sso serve [--config FILE] [--service NAME] [--socket PATH]
                      [--mode MODE] [--group NAME] [--user NAME] [--stderr]
       sasl-sso --version | --help

FILE is an imapd.conf (default: /etc/imapd.conf) or a configuration file of SASL
itself, such as Postfix' smtpd.conf. NAME of --service is that of a service in
cyrus.conf whose options (pop3_sasl_…) go first.

check   Reads the file as the plugin will, and names every fault in the options
        of single sign-on; without --service also of services that have options
        of their own.
        Exit status: 0 without fault, 1 with faults, 2 if it cannot be read.

serve   Takes tickets and tokens in the place of passwords, for logins that can
        only send a password: it speaks saslauthd's protocol. Any other password
        goes on to the saslauthd at sso_fallback_socket. It runs in the foreground.
          --socket  where it serves (default: saslauthd_path of FILE)
          --mode    of the socket (default: 0660)
          --group   of the socket (default: sasl, if we are in it)
          --user    whom it runs as, if started by root (default: cyrus_user; with
                    a file of SASL itself it must be said)
          --stderr  lines go to standard error and not to syslog
        SIGHUP has it read FILE again; SIGTERM ends it. Sockets of systemd go
        before --socket.
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
        ["serve", ref rest @ ..] => serve::run(rest),
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
