//! A demonstration of the plugin and the daemon with a real Cyrus IMAP and a real CAS server: `make
//! demo`.
//!
//! All servers are started for the demonstration, on loopback and in a private directory. Each step
//! is checked before it is printed, and the first unexpected result ends the demonstration with an
//! error. Afterwards, the servers run until Ctrl-C so that the reader can try them, unless `--once`
//! is given.

#![allow(
    clippy::print_stderr,
    reason = "errors of usage and failures go to standard error"
)]

mod application;
mod by_hand;
mod control_socket;
mod login;
mod page;
mod passwords;
mod servers;
mod signals;
mod tokens;
mod walkthrough;

use page::Page;
use servers::DemoServers;
use signals::Signals;
use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

/// The result of any part of the demonstration.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = match arguments.as_slice() {
        [] => false,
        [argument] if argument == "--once" => true,
        _ => {
            eprintln!("usage: demo [--once], with the path of libsso.so in SSO_PLUGIN");
            return ExitCode::from(2);
        }
    };
    // `guarded` reports panics; without this, the default hook would report them as well.
    std::panic::set_hook(Box::new(|_| {}));
    match run(once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demonstration failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(once: bool) -> Outcome {
    let signals = Signals::catch()?;
    let page = Page::new();
    let plugin = plugin()?;
    page.paragraph(
        "Starting a CAS server, Cyrus IMAP with the plugin, and sasl-sso serve; all ports are on \
         127.0.0.1 only …",
    )?;
    let servers = guarded(|| Ok(DemoServers::start(&plugin)))?;
    let result = guarded(|| {
        walkthrough::run(&servers, &page, &signals)?;
        by_hand::offer(&servers, &page, &signals, once)
    });
    let outcome = match result {
        Err(_) if signals.arrived() && once => Err("interrupted".into()),
        // A signal is the normal end of the demonstration, and a step that it interrupted did not
        // fail.
        _ if signals.arrived() => Ok(()),
        Err(error) => {
            Err(format!("{error}\n\nThe log ends:\n{}", servers.cyrus.log().tail()).into())
        }
        Ok(()) => Ok(()),
    };
    let directory = servers.scratch.path().to_owned();
    guarded(|| {
        drop(servers);
        Ok(())
    })?;
    if directory.exists() {
        return Err(format!("{} could not be removed", directory.display()).into());
    }
    // Ignored, because the terminal may be closed.
    let _ = page.paragraph(&format!(
        "All servers are stopped, and {} is removed.",
        directory.display()
    ));
    outcome
}

/// Returns the path of the plugin, which `make demo` passes in `SSO_PLUGIN`.
fn plugin() -> Outcome<PathBuf> {
    let path = std::env::var_os("SSO_PLUGIN").ok_or("SSO_PLUGIN is not set: run `make demo`")?;
    let path = std::path::absolute(path)?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no {}: run `make demo`", path.display()).into()),
    }
}

/// Runs `part` and converts a panic, which is how the harness fails, to an error.
fn guarded<T>(part: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|panic| Err(message(&*panic).into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
