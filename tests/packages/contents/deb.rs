//! Access to a package that `make deb` has built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::scratch::Scratch;

/// Returns the root directory of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command and returns its output. Panics if the command fails.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("cannot run the command");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{error}");
    String::from_utf8(output.stdout).expect("the output is not UTF-8")
}

/// An unpacked package.
pub struct Deb {
    /// The package file.
    pub path: PathBuf,
    /// The directory with its files.
    pub content: PathBuf,
    /// The directory with its control files.
    pub control: PathBuf,
}

impl Deb {
    /// Unpacks the package with this name.
    pub fn of(scratch: &Scratch, name: &str) -> Self {
        let built = fs::read_dir(root().join("target/deb")).expect("no packages: run `make deb`");
        let start = format!("{name}_");
        let mut paths = built.map(|entry| entry.expect("cannot list the packages").path());
        let path = paths
            .find(|path| {
                path.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(&start))
            })
            .expect("the package does not exist: run `make deb`");
        let content = scratch.join(format!("{name}.content"));
        let control = scratch.join(format!("{name}.control"));
        run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&content));
        run(Command::new("dpkg-deb").arg("-e").arg(&path).arg(&control));
        Self {
            path,
            content,
            control,
        }
    }

    /// Unpacks both packages.
    pub fn both(scratch: &Scratch) -> [Self; 2] {
        ["libsasl2-modules-sso", "sasl-sso"].map(|name| Self::of(scratch, name))
    }

    /// Returns a field of the control file.
    pub fn field(&self, name: &str) -> String {
        let value = run(Command::new("dpkg-deb").arg("-f").arg(&self.path).arg(name));
        value.trim().to_owned()
    }

    /// Returns the paths of the files in the package.
    pub fn files(&self) -> BTreeSet<String> {
        files(&self.content)
    }

    /// Reads a file of the package and decompresses it if necessary.
    pub fn read(&self, path: &str) -> String {
        run(Command::new("zcat").arg("-f").arg(self.content.join(path)))
    }

    /// Returns a maintainer script, or an empty string if the package does not have it.
    pub fn script(&self, name: &str) -> String {
        fs::read_to_string(self.control.join(name)).unwrap_or_default()
    }
}

/// Returns the relative paths of all files below a directory.
pub fn files(directory: &Path) -> BTreeSet<String> {
    let found = run(Command::new("find")
        .arg(directory)
        .args(["!", "-type", "d", "-printf", "%P\n"]));
    found.lines().map(str::to_owned).collect()
}
