//! The credential: how it comes in, and that it does not come out.

#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::term::console::Console;
use crate::term::prompt;
use sso_core::credential::CredentialKind;

/// More than any server takes, in bytes.
const LONGEST: u64 = 65_536;

/// A ticket, a token or a password. It prints as what it is, and never itself.
pub(crate) struct Secret {
    text: Zeroizing<String>,
    kind: Option<CredentialKind>,
}

impl Secret {
    /// Reads it from a file, or from standard input: if somebody sits there, without
    /// showing what is typed.
    ///
    /// # Errors
    /// A sentence for who asked.
    pub(crate) fn read(file: Option<&Path>, console: &mut Console) -> Result<Self, String> {
        let text = match file.filter(|path| *path != Path::new("-")) {
            Some(path) => File::open(path)
                .and_then(read)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None if console.can_ask() => prompt::read_hidden(console)?,
            None => read(console.input()).map_err(|error| format!("standard input: {error}"))?,
        };
        Self::of_input(text)
    }

    /// The credential of what was read: the end of its line is none of it.
    fn of_input(bytes: Zeroizing<Vec<u8>>) -> Result<Self, String> {
        if bytes.len() as u64 > LONGEST {
            return Err(format!("the credential is longer than {LONGEST} bytes"));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| "the credential is not UTF-8; is it the right file?")?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err("there is no credential: give it on standard input, or by --file".into());
        }
        if text.contains(['\0', '\r', '\n']) {
            return Err("the credential has several lines; give one, and nothing else".into());
        }
        Ok(Self {
            kind: CredentialKind::of_password(text.as_bytes()),
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// What it is, if it is not a password.
    pub(crate) fn kind(&self) -> Option<CredentialKind> {
        self.kind
    }

    /// The credential itself, for the mail server alone.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// `text` with the credential masked, also where it is in base64, with whatever
    /// before and behind it: a server may send back what it got.
    pub(crate) fn masked_in(&self, text: &str) -> String {
        let mut text = text.replace(&**self.text, &self.to_string());
        // As it stands between quotes, in a command and in JSON.
        if self.text.contains(['\\', '"']) {
            let quoted = self.text.replace('\\', "\\\\").replace('"', "\\\"");
            text = text.replace(&*Zeroizing::new(quoted), &self.to_string());
        }
        for encoded in self.in_base64() {
            text = text.replace(&**encoded, &self.to_string());
        }
        text
    }

    /// What of its base64 does not depend on what is before and behind it, for each
    /// place that it may have in a group of three bytes.
    fn in_base64(&self) -> Vec<Zeroizing<String>> {
        let encoded = (0..3).map(|before| {
            let mut bytes = Zeroizing::new(Vec::with_capacity(before + self.text.len()));
            bytes.resize(before, 0);
            bytes.extend_from_slice(self.text.as_bytes());
            let encoded = Zeroizing::new(STANDARD.encode(&*bytes));
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            Zeroizing::new(encoded.get(own).unwrap_or_default().to_owned())
        });
        // Less than that can be anything, and nobody finds a credential by it.
        encoded.filter(|encoded| encoded.len() >= 6).collect()
    }
}

/// As `sha256sum` shows it, in short: by that one sees which one it is, and not what.
/// Of a password even that would be too much.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Some(CredentialKind::Ticket) => "ticket",
            Some(CredentialKind::Token) => "token",
            None => return f.write_str("‹password›"),
        };
        write!(f, "‹{name}, {} bytes, sha256 ", self.text.len())?;
        let digest = digest::digest(&digest::SHA256, self.text.as_bytes());
        for byte in &digest.as_ref()[..6] {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…›")
    }
}

/// All there is, and one byte more than is taken at most.
fn read(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Of its whole length from the start: what it outgrew would not be wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 64));
    from.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Secret, String> {
        Secret::of_input(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn the_end_of_the_line_is_not_the_credentials() {
        for text in ["PT-12345", "PT-12345\n", "PT-12345\r\n"] {
            let secret = of(text).unwrap();
            assert_eq!(secret.expose(), "PT-12345");
            assert_eq!(secret.kind(), Some(CredentialKind::Ticket));
        }
        assert_eq!(
            of("e30.e30.c2ln").unwrap().kind(),
            Some(CredentialKind::Token)
        );
        for text in ["", "\n", "PT-12345\n\n", "PT-1234\nPT-1235", "a\0b"] {
            assert!(of(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn it_prints_as_what_it_is() {
        let printed = of("PT-12345").unwrap().to_string();
        assert_eq!(printed, "‹ticket, 8 bytes, sha256 5ba7959ee416…›");
        assert_eq!(of("secret").unwrap().to_string(), "‹password›");
    }

    #[test]
    fn a_server_that_sends_it_back_does_not_get_it_shown() {
        let secret = of("PT-1-qj7w2mZx9Kd4vT1p").unwrap();
        let name = secret.to_string();
        assert_eq!(
            secret.masked_in("NO PT-1-qj7w2mZx9Kd4vT1p?"),
            format!("NO {name}?")
        );
        let awkward = of(r#"pa"ss\word"#).unwrap();
        let echoed = awkward.masked_in(r#"BAD LOGIN "alice" "pa\"ss\\word""#);
        assert_eq!(echoed, r#"BAD LOGIN "alice" "‹password›""#);
        for around in ["", "a", "ab", "abc", "alice\0"] {
            let encoded = STANDARD.encode(format!("{around}{}{around}", secret.expose()));
            let masked = secret.masked_in(&encoded);
            assert!(masked.contains(&name), "{around:?}: {masked}");
            // What is left of it is what is around, and the bits that both share.
            assert!(
                masked.len() <= name.len() + 2 * around.len() + 12,
                "{masked}"
            );
        }
    }
}
