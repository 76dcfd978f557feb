//! Reads a line from a terminal without echo.

#![forbid(unsafe_code)]

use std::io::{self, BufRead};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices as At, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::term::console::Console;

const END_OF_TEXT: u8 = 3;
const END_OF_INPUT: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

/// The maximum length of the line, in bytes: longer than any credential.
const MAX_LINE_BYTES: usize = 65_536;

/// Reads a line byte by byte. In canonical mode a terminal truncates lines to 4,095 bytes, and ^C
/// would end the program before it turns echo on again.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn read_hidden(console: &mut Console) -> Result<Zeroizing<Vec<u8>>, String> {
    let _echo_off = EchoOff::begin().map_err(|error| {
        format!("the terminal goes on showing what is typed ({error}): use --file")
    })?;
    console.print_error("The ticket or the token, which is not shown, and Enter:");
    line(console.input())
}

/// Reads a line; backspace deletes the last byte.
fn line(from: impl BufRead) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES));
    for byte in from.bytes() {
        match byte.map_err(|error| format!("standard input: {error}"))? {
            b'\r' | b'\n' | END_OF_INPUT => break,
            END_OF_TEXT => return Err("given up".to_owned()),
            BACKSPACE | DELETE => drop(line.pop()),
            byte if line.len() < MAX_LINE_BYTES => line.push(byte),
            _ => return Err("the credential does not end".to_owned()),
        }
    }
    Ok(line)
}

/// Turns echo off until it is dropped.
struct EchoOff {
    before: Termios,
}

impl EchoOff {
    fn begin() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut settings = before.clone();
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        settings.control_chars[At::VMIN as usize] = 1;
        settings.control_chars[At::VTIME as usize] = 0;
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &settings)?;
        Ok(Self { before })
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_at_enter_or_end_of_input() {
        let typed = |bytes: &[u8]| line(bytes).map(|line| line.to_vec());
        assert_eq!(typed(b"PT-1\nrest").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-22\x7f\x7f1\r").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-1\x04").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-1").unwrap(), b"PT-1");
        assert!(typed(b"PT-1\x03\n").is_err());
        assert!(typed(&[b'x'; MAX_LINE_BYTES + 1]).is_err());
    }
}
