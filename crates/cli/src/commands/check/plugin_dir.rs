//! Checks that the plugin is in libsasl2's directory and of the same build as this program. The
//! file is read, not loaded.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::context::CheckContext;
use super::diagnostic::Severity;
use sso_core::platform::build_info;

/// The file name of the plugin.
const PLUGIN_FILE: &str = "libsso.so";

/// Returns whether the plugin file exists.
pub(crate) fn check(context: &mut CheckContext<'_>, directory: Option<&Path>) -> bool {
    let directories = match directory {
        Some(directory) => vec![directory.to_owned()],
        None => plugin_dirs(),
    };
    let found = directories
        .iter()
        .map(|directory| directory.join(PLUGIN_FILE))
        .find(|path| path.exists());
    let Some(path) = found else {
        let directories: Vec<String> = directories
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let what = format!(
            "there is no {PLUGIN_FILE} in {}, and without it nothing is offered",
            directories.join(", ")
        );
        let remedy = "install it, or name the directory by --plugin-dir";
        context.add(Severity::Warning, "", what, remedy);
        return false;
    };
    check_file(context, &path);
    true
}

fn check_file(context: &mut CheckContext<'_>, path: &Path) {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let what = format!("{shown} cannot be read");
            return context.add(
                Severity::Warning,
                "",
                what,
                "make it readable for everybody",
            );
        }
        Err(error) => {
            let what = format!("{shown} cannot be read: {error}");
            return context.add(Severity::Warning, "", what, "install it again");
        }
    };
    let (version, digest) = build_info::ours();
    let what = match build_info::find(&bytes) {
        None => format!("{shown} is not a plugin of this version ({version})"),
        Some((other, _)) if other != version => {
            format!("{shown} is of version {other}, and this program of {version}")
        }
        Some((_, other)) if other != digest => {
            format!("{shown} is of another build ({other}) than this program ({digest})")
        }
        Some(_) => return,
    };
    let remedy = "install both of one build: they read the same options and sessions";
    context.add(Severity::Warning, "", what, remedy);
}

/// The plugin directory of Debian's libsasl2, or those of other distributions.
fn plugin_dirs() -> Vec<PathBuf> {
    // Debian's names of architectures differ from Rust's.
    let triplet = match std::env::consts::ARCH {
        "arm" => "arm-linux-gnueabihf".to_owned(),
        "powerpc64" => "powerpc64le-linux-gnu".to_owned(),
        "x86" => "i386-linux-gnu".to_owned(),
        arch => format!("{arch}-linux-gnu"),
    };
    let debian = PathBuf::from(format!("/usr/lib/{triplet}/sasl2"));
    if debian.is_dir() {
        return vec![debian];
    }
    let others = ["/usr/lib64/sasl2", "/usr/lib/sasl2"].map(PathBuf::from);
    let there: Vec<PathBuf> = others.into_iter().filter(|path| path.is_dir()).collect();
    match there.is_empty() {
        true => vec![debian],
        false => there,
    }
}
