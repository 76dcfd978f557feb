//! Node.js with the packages of `oidc/package.json`.

use super::scratch::Scratch;
use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where `scripts/install-npm-packages` installs the packages.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/npm/node_modules");

/// Writes `script` to `NAME.mjs` in `home`, a directory below the scratch directory, and returns a
/// command that runs it. The script can import the packages.
pub fn command(scratch: &Scratch, home: &Path, name: &str, script: &str) -> Command {
    let packages = Path::new(PACKAGES);
    assert!(
        packages.exists(),
        "{PACKAGES}: no such directory: run scripts/install-npm-packages"
    );
    // Node.js looks for a package only next to the script that imports it.
    let link = home.join("node_modules");
    if !link.exists() {
        symlink(packages, &link).expect("cannot link to the packages");
    }
    let script = scratch.write(home.join(format!("{name}.mjs")), script);
    let mut command = scratch.command(node());
    command
        // Node.js 18 tries only the first address of localhost, and the servers listen on IPv4.
        .arg("--dns-result-order=ipv4first")
        .arg(script)
        .current_dir(home);
    command
}

/// Returns the first `node` in PATH of the developer's environment, as `scripts/install-packages`
/// does.
fn node() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|dir| dir.join("node"))
        .find(|program| program.is_file())
        .expect("node is not in PATH: install nodejs")
}
