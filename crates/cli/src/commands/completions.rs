//! `sasl-sso completions`: what shells complete its command line by.

#![forbid(unsafe_code)]

use clap::Args;
use clap_complete::Shell;

use super::{Status, command};
use crate::term::console::Console;

/// Write the completions of a shell to standard output.
///
/// The packages bring those of bash, zsh and fish with them. By hand, for bash:
/// sasl-sso completions bash >/etc/bash_completion.d/sasl-sso
#[derive(Args)]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> Status {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "sasl-sso", &mut script);
    console.line(String::from_utf8_lossy(&script).trim_end());
    Status::Good
}
