//! Sets `SSO_SOURCES`, the digest of the sources and dependencies that a build is made of.
//! The plugin and the program have the same digest only if they were built from the same ones.

use std::io;
use std::path::{Path, PathBuf};

/// The root of the workspace, as seen from this package.
const ROOT: &str = "../..";

fn main() -> io::Result<()> {
    let root = Path::new(ROOT);
    let mut files = vec![root.join("Cargo.lock"), root.join("Cargo.toml")];
    for directory in ["src", "crates/core", "crates/cli"] {
        println!("cargo:rerun-if-changed={ROOT}/{directory}");
        collect(&root.join(directory), &mut files)?;
    }
    files.sort();
    // FNV-1a with 64 bits. The digest detects mistakes, not forgeries.
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.to_string_lossy().into_owned().into_bytes();
        for byte in name.into_iter().chain(std::fs::read(&file)?) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("cargo:rustc-env=SSO_SOURCES={digest:016x}");
    Ok(())
}

/// Adds all files below `directory` to `files`.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
