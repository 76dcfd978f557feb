//! A package as `make deb` left it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::scratch::Scratch;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command prints, if it succeeds.
pub fn said(command: &mut Command) -> String {
    let output = command.output().expect("a command of the tests");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A package, and what it unpacks to.
pub struct Deb {
    pub path: PathBuf,
    pub content: PathBuf,
    pub control: PathBuf,
}

impl Deb {
    pub fn of(scratch: &Scratch, name: &str) -> Self {
        let built = fs::read_dir(root().join("target/deb")).expect("packages: run `make deb`");
        let start = format!("{name}_");
        let mut paths = built.map(|entry| entry.expect("a package").path());
        let path = paths
            .find(|path| {
                path.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(&start))
            })
            .expect("a package: run `make deb`");
        let content = scratch.join(format!("{name}.content"));
        let control = scratch.join(format!("{name}.control"));
        said(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&content));
        said(Command::new("dpkg-deb").arg("-e").arg(&path).arg(&control));
        Self {
            path,
            content,
            control,
        }
    }

    pub fn both(scratch: &Scratch) -> [Self; 2] {
        ["libsasl2-modules-sso", "sasl-sso"].map(|name| Self::of(scratch, name))
    }

    pub fn field(&self, name: &str) -> String {
        let value = said(Command::new("dpkg-deb").arg("-f").arg(&self.path).arg(name));
        value.trim().to_owned()
    }

    pub fn files(&self) -> BTreeSet<String> {
        files(&self.content)
    }

    /// A file of it, which may be compressed.
    pub fn read(&self, path: &str) -> String {
        said(Command::new("zcat").arg("-f").arg(self.content.join(path)))
    }

    /// A script of the maintainer's; empty if it has none.
    pub fn script(&self, name: &str) -> String {
        fs::read_to_string(self.control.join(name)).unwrap_or_default()
    }
}

/// All files below a directory, by their path there.
pub fn files(directory: &Path) -> BTreeSet<String> {
    let found = said(
        Command::new("find")
            .arg(directory)
            .args(["!", "-type", "d", "-printf", "%P\n"]),
    );
    found.lines().map(str::to_owned).collect()
}
