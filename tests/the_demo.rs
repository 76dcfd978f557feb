//! `make demo`, without what it leaves running: it comes to its end, says what it should, and the
//! machine is as it was.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

mod harness;
mod libsasl2;

use harness::scratch::Scratch;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a mail server of the machine's own has, and where an installed plugin would be.
const OF_THE_MACHINE: [&str; 5] = [
    "/etc/imapd.conf",
    "/etc/cyrus.conf",
    "/etc/default",
    "/usr/lib/sasl2",
    "/run/cyrus/sasl-sso",
];

/// Each file with what is in it.
fn contents() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut paths: Vec<PathBuf> = OF_THE_MACHINE.map(PathBuf::from).to_vec();
    // Where Debian has plugins: one directory for each processor.
    let processors = fs::read_dir("/usr/lib").expect("/usr/lib");
    paths.extend(processors.filter_map(|entry| Some(entry.ok()?.path().join("sasl2"))));
    let mut found = BTreeMap::new();
    while let Some(path) = paths.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        } else if let Ok(bytes) = fs::read(&path) {
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn it_shows_what_it_promises_and_leaves_the_machine_as_it_was() {
    let scratch = Scratch::new("demo");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let demo = target.expect("target").join("debug/examples/demo");
    assert!(demo.exists(), "run `cargo build --locked --example demo`");
    let before = contents();
    assert!(before.len() > 10, "{before:?}");
    let mut command = scratch.command(demo);
    command
        .arg("--once")
        .env("SSO_PLUGIN", libsasl2::plugin())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let said = scratch.run("demo", command, "");
    for promised in [
        "outcome=accepted",
        "source=host",
        "reason=ticket_refused",
        "reason=token_expired",
        "AUTHENTICATE OAUTHBEARER",
        "The commands to try it by hand work as well.",
    ] {
        assert!(said.contains(promised), "{promised}\n{said}");
    }
    let (_, directory) = said
        .split_once("All servers are stopped, and ")
        .expect("an end");
    let (directory, _) = directory.split_once(" is removed").expect("an end");
    assert!(!Path::new(directory).exists(), "{directory}");
    assert!(
        contents() == before,
        "something of the machine's was changed"
    );
}
