//! Runs the demonstration of `make demo` with `--once`. It must succeed, print what it promises,
//! and leave the machine unchanged.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use test_support::scratch::Scratch;

/// Paths of a mail server of the host and of an installed plugin.
const HOST_PATHS: [&str; 5] = [
    "/etc/imapd.conf",
    "/etc/cyrus.conf",
    "/etc/default",
    "/usr/lib/sasl2",
    "/run/cyrus/sasl-sso",
];

/// Returns all files below these paths, and the plugin directories, with their contents.
fn contents() -> BTreeMap<PathBuf, Vec<u8>> {
    let mut paths: Vec<PathBuf> = HOST_PATHS.map(PathBuf::from).to_vec();
    // Debian's plugin directories, one for each architecture.
    let processors = fs::read_dir("/usr/lib").expect("cannot read /usr/lib");
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
fn demo_succeeds_and_leaves_the_machine_unchanged() {
    let scratch = Scratch::new("demo");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let demo = target
        .expect("cannot determine the target directory")
        .join("debug/examples/demo");
    assert!(demo.exists(), "run `cargo build --locked --example demo`");
    let before = contents();
    assert!(before.len() > 10, "{before:?}");
    let mut command = scratch.command(demo);
    command
        .arg("--once")
        .env("SSO_PLUGIN", test_support::libsasl2::plugin())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = scratch.run("demo", command, "");
    for expected in [
        "outcome=accepted",
        "source=host",
        "reason=ticket_refused",
        "reason=token_expired",
        "AUTHENTICATE OAUTHBEARER",
        "The commands to try it by hand work as well.",
    ] {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    let (_, directory) = output
        .split_once("All servers are stopped, and ")
        .expect("the demo did not report that the servers are stopped");
    let (directory, _) = directory
        .split_once(" is removed")
        .expect("the demo did not report that its directory is removed");
    assert!(!Path::new(directory).exists(), "{directory}");
    assert!(contents() == before, "the demo changed files of the host");
}
