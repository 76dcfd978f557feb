//! The version of Cyrus: as the command line says, or as dpkg has installed it.
//! Nothing is executed for it.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::str::FromStr;

/// dpkg's list of what is installed.
const STATUS: &str = "/var/lib/dpkg/status";

/// The packages of which one is imapd's own.
const PACKAGES: &[&str] = &["cyrus-imapd", "cyrus-common"];

/// A version such as 3.10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli::check) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// Of the package that dpkg has installed, if it has.
    pub(in crate::cli::check) fn installed() -> Option<Self> {
        Self::in_status(Path::new(STATUS))
    }

    fn in_status(path: &Path) -> Option<Self> {
        let (mut is_cyrus, mut is_installed) = (false, false);
        for line in BufReader::new(File::open(path).ok()?).lines() {
            let line = line.ok()?;
            match line.split_once(": ") {
                Some(("Package", name)) => {
                    is_cyrus = PACKAGES.contains(&name);
                    is_installed = false;
                }
                Some(("Status", status)) => is_installed = status.ends_with(" installed"),
                Some(("Version", version)) if is_cyrus && is_installed => {
                    // Behind an epoch, and with the packages' own number.
                    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
                    return version.parse().ok();
                }
                _ => {}
            }
        }
        None
    }

    /// Whether STARTTLS is offered only where `allowstarttls` says so: by 3.8.6, and
    /// from 3.10 on.
    pub(super) fn has_no_starttls_by_default(self) -> bool {
        match (self.major, self.minor) {
            (3, 8) => self.patch >= 6,
            version => version >= (3, 10),
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.');
        let mut number = || numbers.next().and_then(|number| number.parse().ok());
        let wrong = || "is no version; write it like 3.10.2".to_owned();
        Ok(Self {
            major: number().ok_or_else(wrong)?,
            minor: number().ok_or_else(wrong)?,
            patch: number().unwrap_or(0),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_without_starttls_by_default_are_known() {
        for (text, expected) in [
            ("2.5.17", false),
            ("3.6.1-4+deb12u5", false),
            ("3.8.5", false),
            ("3.8.6", true),
            ("3.10.1-1+deb13u1", true),
            ("3.10", true),
            ("3.12.1", true),
            ("4.0", true),
        ] {
            assert_eq!(
                version(text).has_no_starttls_by_default(),
                expected,
                "{text}"
            );
        }
        assert!("".parse::<Version>().is_err() && "three".parse::<Version>().is_err());
    }

    #[test]
    fn the_installed_package_is_found_among_others() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let status = "Package: cyrus-sasl2-doc\nStatus: install ok installed\nVersion: 2.1\n\n\
                      Package: cyrus-imapd\nStatus: deinstall ok config-files\nVersion: 3.6.1\n\n\
                      Package: cyrus-common\nStatus: install ok installed\n\
                      Architecture: amd64\nVersion: 1:3.10.2-0+deb13u1\n";
        std::fs::write(file.path(), status).unwrap();
        assert_eq!(Version::in_status(file.path()), Some(version("3.10.2")));
        std::fs::write(file.path(), "Package: vim\nStatus: install ok installed\n").unwrap();
        assert_eq!(Version::in_status(file.path()), None);
        assert_eq!(Version::in_status(Path::new("/missing/status")), None);
    }
}
