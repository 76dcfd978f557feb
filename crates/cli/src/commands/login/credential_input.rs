//! Reads the credential, and keeps it out of all output.

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

/// The maximum length of the input, in bytes: longer than any credential that a server accepts.
const MAX_INPUT_BYTES: u64 = 65_536;

/// A ticket, a token or a password. `Display` prints its kind and digest, never the credential.
pub(crate) struct CredentialInput {
    text: Zeroizing<String>,
    kind: Option<CredentialKind>,
}

impl CredentialInput {
    /// Reads the credential from a file or from standard input. A terminal does not echo it.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn read(file: Option<&Path>, console: &mut Console) -> Result<Self, String> {
        let text = match file.filter(|path| *path != Path::new("-")) {
            Some(path) => File::open(path)
                .and_then(read)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None if console.is_interactive() => prompt::read_hidden(console)?,
            None => read(console.input()).map_err(|error| format!("standard input: {error}"))?,
        };
        Self::of_input(text)
    }

    /// Removes the line ending from the input.
    fn of_input(bytes: Zeroizing<Vec<u8>>) -> Result<Self, String> {
        if bytes.len() as u64 > MAX_INPUT_BYTES {
            return Err(format!(
                "the credential is longer than {MAX_INPUT_BYTES} bytes"
            ));
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

    /// The kind of the credential; `None` for a password.
    pub(crate) fn kind(&self) -> Option<CredentialKind> {
        self.kind
    }

    /// The credential itself, to be sent to the mail server only.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// Masks the credential in `text`, also within base64 with other bytes around it: a server may
    /// send back what it received.
    pub(crate) fn masked_in(&self, text: &str) -> String {
        let mut text = text.replace(&**self.text, &self.to_string());
        // The credential as a quoted string, as in a command and in JSON.
        if self.text.contains(['\\', '"']) {
            let quoted = self.text.replace('\\', "\\\\").replace('"', "\\\"");
            text = text.replace(&*Zeroizing::new(quoted), &self.to_string());
        }
        for encoded in self.in_base64() {
            text = text.replace(&**encoded, &self.to_string());
        }
        text
    }

    /// The part of the base64 encoding that does not depend on the bytes around the credential, for
    /// each of the three positions in a group of three bytes.
    fn in_base64(&self) -> Vec<Zeroizing<String>> {
        let encoded = (0..3).map(|before| {
            let mut bytes = Zeroizing::new(Vec::with_capacity(before + self.text.len()));
            bytes.resize(before, 0);
            bytes.extend_from_slice(self.text.as_bytes());
            let encoded = Zeroizing::new(STANDARD.encode(&*bytes));
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            Zeroizing::new(encoded.get(own).unwrap_or_default().to_owned())
        });
        // A shorter part matches unrelated text, and does not reveal the credential.
        encoded.filter(|encoded| encoded.len() >= 6).collect()
    }
}

/// Prints the first digits of the digest that `sha256sum` prints: they identify a ticket or token
/// without revealing it. A password has too little entropy even for that.
impl fmt::Display for CredentialInput {
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

/// Reads all input, but at most one byte more than is accepted.
fn read(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // The full capacity is allocated first: the old buffer of a vector that grows would not be
    // wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_INPUT_BYTES as usize + 64));
    from.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<CredentialInput, String> {
        CredentialInput::of_input(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn line_ending_is_not_part_of_the_credential() {
        for text in ["PT-12345", "PT-12345\n", "PT-12345\r\n"] {
            let credential = of(text).unwrap();
            assert_eq!(credential.expose(), "PT-12345");
            assert_eq!(credential.kind(), Some(CredentialKind::Ticket));
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
    fn display_shows_kind_and_digest_only() {
        let printed = of("PT-12345").unwrap().to_string();
        assert_eq!(printed, "‹ticket, 8 bytes, sha256 5ba7959ee416…›");
        assert_eq!(of("secret").unwrap().to_string(), "‹password›");
    }

    #[test]
    fn credential_is_masked_in_server_responses() {
        let credential = of("PT-1-qj7w2mZx9Kd4vT1p").unwrap();
        let name = credential.to_string();
        assert_eq!(
            credential.masked_in("NO PT-1-qj7w2mZx9Kd4vT1p?"),
            format!("NO {name}?")
        );
        let password = of(r#"pa"ss\word"#).unwrap();
        let echoed = password.masked_in(r#"BAD LOGIN "alice" "pa\"ss\\word""#);
        assert_eq!(echoed, r#"BAD LOGIN "alice" "‹password›""#);
        for around in ["", "a", "ab", "abc", "alice\0"] {
            let encoded = STANDARD.encode(format!("{around}{}{around}", credential.expose()));
            let masked = credential.masked_in(&encoded);
            assert!(masked.contains(&name), "{around:?}: {masked}");
            // What remains are the bytes around the credential, and the characters that share bits
            // with both.
            assert!(
                masked.len() <= name.len() + 2 * around.len() + 12,
                "{masked}"
            );
        }
    }
}
