//! The credential on standard input or in a file, which must not appear in the output.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::term::console::{Console, plain};
use crate::term::prompt;
use sso_core::config::Config;
use sso_core::credential::CredentialKind;

/// The maximum length of the input, in bytes. Valid credentials are much shorter.
const MAX_INPUT_BYTES: u64 = 1 << 20;

/// The bytes of a credential. They are overwritten when they are dropped.
pub(crate) struct CredentialInput(Zeroizing<Vec<u8>>);

impl CredentialInput {
    /// Reads a file, or standard input if its name is `-`. One line end at the end is removed.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(crate) fn read(path: &Path, console: &mut Console) -> Result<Self, String> {
        let name = path.display();
        let mut bytes = Zeroizing::new(Vec::new());
        let read = if path != Path::new("-") {
            let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
            file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)
        } else if console.is_interactive() {
            bytes = prompt::read_hidden(console)?;
            Ok(bytes.len())
        } else {
            console
                .input()
                .take(MAX_INPUT_BYTES + 1)
                .read_to_end(&mut bytes)
        };
        read.map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() as u64 > MAX_INPUT_BYTES {
            return Err(format!("{name}: is longer than a credential can be"));
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The kind of the credential, of those that are configured.
    ///
    /// # Errors
    /// Which option is missing.
    pub(crate) fn kind(&self, config: &Config, prefix: &str) -> Result<CredentialKind, String> {
        let kind = CredentialKind::of_password(&self.0);
        match (kind, config.cas.is_some(), config.jwt.is_some()) {
            (_, false, false) => Err(format!(
                "neither {prefix}caspt_url nor {prefix}jwt_keys is set; set one"
            )),
            (Some(CredentialKind::Ticket), false, _) => Err(format!(
                "this is a ticket, and {prefix}caspt_url is not set"
            )),
            (Some(CredentialKind::Token), _, false) => {
                Err(format!("this is a token, and {prefix}jwt_keys is not set"))
            }
            (Some(kind), _, _) => Ok(kind),
            (None, true, false) => Ok(CredentialKind::Ticket),
            (None, false, true) => Ok(CredentialKind::Token),
            (None, true, true) if self.0.contains(&b'.') => Ok(CredentialKind::Token),
            (None, true, true) => Ok(CredentialKind::Ticket),
        }
    }

    /// Returns `text` without the credential and without control characters, cut to a maximum
    /// length.
    pub(crate) fn printable(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let whole = std::str::from_utf8(&self.0).unwrap_or_default();
        let signature = whole
            .rsplit_once('.')
            .map_or("", |(_, signature)| signature);
        for secret in [whole, signature] {
            // A shorter text is no secret, and could be a part of any word.
            if secret.len() >= 16 {
                text = text.replace(secret, "[credential]");
            } else if secret == text {
                text.clear();
            }
        }
        plain(&text)
    }
}

/// Asks for confirmation on the terminal. Without a terminal the answer is no.
pub(crate) fn is_confirmed(question: &str, console: &mut Console) -> bool {
    if !console.is_interactive() {
        return false;
    }
    console.print_error(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    let read = console.input().take(100).read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> CredentialInput {
        let (mut console, _, _) = Console::for_test(text);
        CredentialInput::read(Path::new("-"), &mut console).unwrap()
    }

    #[test]
    fn one_line_end_is_removed() {
        assert_eq!(input("PT-1-a\r\n").bytes(), b"PT-1-a");
        assert_eq!(input("PT-1-a\n\n").bytes(), b"PT-1-a\n");
        assert_eq!(input(" PT-1-a").bytes(), b" PT-1-a");
    }

    #[test]
    fn confirmation_without_a_terminal_is_denied() {
        let (mut console, _, err) = Console::for_test("y\n");
        assert!(!is_confirmed("?", &mut console));
        assert_eq!(err.text(), "");
    }

    #[test]
    fn printable_text_has_no_credential_and_a_maximum_length() {
        let token = input("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2ln");
        let text = "\u{1b}x c2lnbmF0dXJlc2ln y";
        assert_eq!(token.printable(text), "?x [credential] y");
        assert_eq!(token.printable(&"a".repeat(3_000)).chars().count(), 2_001);
        assert_eq!(input("a").printable("an aud"), "an aud");
    }
}
