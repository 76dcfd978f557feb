//! Node.js with the packages of `oidc/package.json`.

use super::scratch::Scratch;
use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `scripts/install-npm-packages` puts them.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/npm/node_modules");

/// A command that runs this script in a directory below the scratch directory. The script is
/// written there as `NAME.mjs`, and can import the packages.
pub fn command(scratch: &Scratch, home: &Path, name: &str, script: &str) -> Command {
    let packages = Path::new(PACKAGES);
    assert!(
        packages.exists(),
        "{PACKAGES}: no such directory: run scripts/install-npm-packages"
    );
    // A module is looked for beside the script that imports it, and nowhere else.
    let link = home.join("node_modules");
    if !link.exists() {
        symlink(packages, &link).expect("a link to the packages");
    }
    let script = scratch.write(home.join(format!("{name}.mjs")), script);
    let mut command = scratch.command(node());
    command
        // Node 18 takes the first address of localhost and no other; the servers have the older.
        .arg("--dns-result-order=ipv4first")
        .arg(script)
        .current_dir(home);
    command
}

/// That of the developer, as `scripts/install-packages` has it: Debian's may be too much to ask.
fn node() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join("node"))
        .find(|program| program.is_file())
        .expect("node in PATH (package nodejs)")
}
