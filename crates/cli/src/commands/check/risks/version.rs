//! The version of Cyrus: from the command line, or of the package that dpkg has installed. No
//! program of Cyrus is run.

#![forbid(unsafe_code)]

use std::fmt;
use std::process::{Command, Stdio};
use std::str::FromStr;

/// The program that lists installed packages (dpkg-query(1)). It is not searched for in PATH.
const DPKG_QUERY: &str = "/usr/bin/dpkg-query";

/// The format of one line for each package: the state, where `ii` is installed, and the version.
const SHOW_FORMAT: &str = "${db:Status-Abbrev} ${Version}\\n";

/// The packages that may include imapd.
const PACKAGES: &[&str] = &["cyrus-imapd", "cyrus-common"];

/// A version such as 3.10.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version of the installed package, if there is one.
    pub(crate) fn installed() -> Option<Self> {
        let output = Command::new(DPKG_QUERY)
            .args(["--show", "--showformat", SHOW_FORMAT])
            .args(PACKAGES)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        // dpkg-query lists the packages that it knows, and exits with an error if it does not know
        // the others.
        Self::first_installed(&String::from_utf8_lossy(&output.ok()?.stdout))
    }

    /// The version in the first line of an installed package.
    fn first_installed(list: &str) -> Option<Self> {
        list.lines().find_map(|line| {
            let version = line.strip_prefix("ii ")?.trim_start();
            // Without the epoch; the package revision is ignored by the parser.
            let version = version.split_once(':').map_or(version, |(_, rest)| rest);
            version.parse().ok()
        })
    }

    /// Whether STARTTLS is offered only with `allowstarttls`: in 3.8.6 and later, and since 3.10.
    pub(crate) fn has_no_starttls_by_default(self) -> bool {
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
    fn versions_without_starttls_by_default_are_recognized() {
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
    fn version_of_the_installed_package_is_read() {
        let list = "rc  3.6.1\nii  1:3.10.2-0+deb13u1\n";
        assert_eq!(Version::first_installed(list), Some(version("3.10.2")));
        assert_eq!(Version::first_installed("un  \n"), None);
        assert_eq!(Version::first_installed(""), None);
    }
}
