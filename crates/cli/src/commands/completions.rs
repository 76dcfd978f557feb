//! `sasl-sso completions`: shell completions.

#![forbid(unsafe_code)]

use clap::Args;
use clap_complete::Shell;

use super::{ExitStatus, command};
use crate::term::console::Console;

/// Write shell completions to standard output.
///
/// The packages install those of bash, zsh and fish. To install them by hand for bash: sasl-sso
/// completions bash >/etc/bash_completion.d/sasl-sso
#[derive(Args)]
pub(crate) struct Arguments {
    /// Shell to complete for
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, console: &mut Console) -> ExitStatus {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "sasl-sso", &mut script);
    console.line(String::from_utf8_lossy(&script).trim_end());
    ExitStatus::Success
}
