//! What the plugin and the daemon do, shown on a real Cyrus IMAP and a real CAS server:
//! `make demo`.
//!
//! All are started for the demonstration alone, on loopback and in a directory of their own. Each
//! step is checked before it is printed; at the first that goes otherwise the demonstration fails.
//! After it the servers stay up to be tried by hand, until Ctrl-C; with `--once` they do not.

#![allow(
    clippy::print_stderr,
    reason = "where a program says that it was used wrongly or has failed"
)]

mod application;
mod by_hand;
mod desk;
#[path = "../../tests/harness/mod.rs"]
mod harness;
mod login;
mod page;
mod passwords;
mod signals;
mod site;
mod story;
mod tokens;

use page::Page;
use signals::Signals;
use site::Site;
use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

/// What any part of the demonstration comes to.
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
    // `guarded` tells of a panic, where it belongs; the default is to tell of it at once as well.
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
    let site = guarded(|| Ok(Site::start(&plugin)))?;
    let shown = guarded(|| {
        story::tell(&site, &page, &signals)?;
        by_hand::offer(&site, &page, &signals, once)
    });
    let outcome = match shown {
        Err(_) if signals.came() && once => Err("interrupted".into()),
        // To be ended is what it waits for. A step that a signal cut short has not failed.
        _ if signals.came() => Ok(()),
        Err(error) => Err(format!("{error}\n\nThe log ends:\n{}", site.cyrus.log().tail()).into()),
        Ok(()) => Ok(()),
    };
    let directory = site.scratch.path().to_owned();
    guarded(|| {
        drop(site);
        Ok(())
    })?;
    if directory.exists() {
        return Err(format!("{} could not be removed", directory.display()).into());
    }
    // Whoever closed the terminal does not read it.
    let _ = page.paragraph(&format!(
        "All servers are stopped, and {} is removed.",
        directory.display()
    ));
    outcome
}

/// The plugin that was built, which only the Makefile knows where.
fn plugin() -> Outcome<PathBuf> {
    let path = std::env::var_os("SSO_PLUGIN").ok_or("SSO_PLUGIN is not set: run `make demo`")?;
    let path = std::path::absolute(path)?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no {}: run `make demo`", path.display()).into()),
    }
}

/// Runs what may panic, as everything in the harness does when it fails.
fn guarded<T>(part: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or_else(|panic| Err(message(&*panic).into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
