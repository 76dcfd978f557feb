//! The credential as it is given, and what must not be shown of it.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::term::console::{Console, plain};
use crate::term::prompt;
use sso_core::config::Config;
use sso_core::credential::CredentialKind;

/// The longest credential that is read, in bytes: much longer than any that is taken.
const LONGEST: u64 = 1 << 20;

/// What was given. It wipes itself.
pub(crate) struct Given(Zeroizing<Vec<u8>>);

impl Given {
    /// Reads a file, or standard input if it is called `-`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(path: &Path, console: &mut Console) -> Result<Self, String> {
        let name = path.display();
        let mut bytes = Zeroizing::new(Vec::new());
        let read = if path != Path::new("-") {
            let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
            file.take(LONGEST + 1).read_to_end(&mut bytes)
        } else if console.can_ask() {
            bytes = prompt::read_hidden(console)?;
            Ok(bytes.len())
        } else {
            console.input().take(LONGEST + 1).read_to_end(&mut bytes)
        };
        read.map_err(|error| format!("{name}: {error}"))?;
        if bytes.len() as u64 > LONGEST {
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

    /// What it is meant to be, of what is configured.
    ///
    /// # Errors
    /// What would have to be set.
    pub(crate) fn kind(&self, config: &Config, prefix: &str) -> Result<CredentialKind, String> {
        let meant = CredentialKind::of_password(&self.0);
        match (meant, config.cas.is_some(), config.jwt.is_some()) {
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

    /// `text` made safe to read: without the credential, without what is not seen,
    /// and of bounded length.
    pub(crate) fn harmless(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let whole = std::str::from_utf8(&self.0).unwrap_or_default();
        let signature = whole
            .rsplit_once('.')
            .map_or("", |(_, signature)| signature);
        for secret in [whole, signature] {
            // What is shorter is no secret, and may be part of any word.
            if secret.len() >= 16 {
                text = text.replace(secret, "[credential]");
            } else if secret == text {
                text.clear();
            }
        }
        plain(&text)
    }
}

/// Asks on the terminal; without one nobody agrees.
pub(crate) fn is_agreed(question: &str, console: &mut Console) -> bool {
    if !console.can_ask() {
        return false;
    }
    console.complain(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    let read = console.input().take(100).read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Given {
        let (mut console, _, _) = Console::of_test(text);
        Given::read(Path::new("-"), &mut console).unwrap()
    }

    #[test]
    fn one_line_end_is_not_part_of_it() {
        assert_eq!(given("PT-1-a\r\n").bytes(), b"PT-1-a");
        assert_eq!(given("PT-1-a\n\n").bytes(), b"PT-1-a\n");
        assert_eq!(given(" PT-1-a").bytes(), b" PT-1-a");
    }

    #[test]
    fn nobody_agrees_who_is_not_there() {
        let (mut console, _, err) = Console::of_test("y\n");
        assert!(!is_agreed("?", &mut console));
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_text_is_shown_without_the_credential_and_in_bounds() {
        let token = given("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2ln");
        let text = "\u{1b}x c2lnbmF0dXJlc2ln y";
        assert_eq!(token.harmless(text), "?x [credential] y");
        assert_eq!(token.harmless(&"a".repeat(3_000)).chars().count(), 2_001);
        // What is short may be part of any word.
        assert_eq!(given("a").harmless("an aud"), "an aud");
    }
}
