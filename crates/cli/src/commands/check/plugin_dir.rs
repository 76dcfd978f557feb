//! Whether the plugin is where libsasl2 looks for it, and of the same build as this
//! program. It is read, and not loaded.

#![forbid(unsafe_code)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::context::Subject;
use super::diagnostic::Severity;
use sso_core::platform::build_info;

/// Where the plugin has to be.
const NAME: &str = "libsso.so";

/// Returns whether there is a file for libsasl2 to load.
pub(crate) fn check(subject: &mut Subject<'_>, directory: Option<&Path>) -> bool {
    let places = match directory {
        Some(directory) => vec![directory.to_owned()],
        None => places(),
    };
    let found = places
        .iter()
        .map(|place| place.join(NAME))
        .find(|path| path.exists());
    let Some(path) = found else {
        let places: Vec<String> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let what = format!(
            "there is no {NAME} in {}, and without it nothing is offered",
            places.join(", ")
        );
        let remedy = "install it, or name the directory by --plugin-dir";
        subject.say(Severity::Warning, "", what, remedy);
        return false;
    };
    check_file(subject, &path);
    true
}

fn check_file(subject: &mut Subject<'_>, path: &Path) {
    let shown = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let what = format!("{shown} cannot be read");
            return subject.say(
                Severity::Warning,
                "",
                what,
                "make it readable for everybody",
            );
        }
        Err(error) => {
            let what = format!("{shown} cannot be read: {error}");
            return subject.say(Severity::Warning, "", what, "install it again");
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
    subject.say(Severity::Warning, "", what, remedy);
}

/// Where Debian's libsasl2 looks, and where those of others do.
fn places() -> Vec<PathBuf> {
    // Debian's names for them are not always those of the compiler.
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
