//! A line from a terminal that does not show it.

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

/// More than any credential has, in bytes.
const LONGEST: usize = 65_536;

/// Reads up to the end of a line, byte by byte: a terminal that edits lines cuts them off
/// after 4,095 bytes, and ends the program at ^C before it shows again what is typed.
///
/// # Errors
/// A sentence for who sits there.
pub(crate) fn read_hidden(console: &mut Console) -> Result<Zeroizing<Vec<u8>>, String> {
    let _hidden = Hidden::begin().map_err(|error| {
        format!("the terminal goes on showing what is typed ({error}): use --file")
    })?;
    console.complain("The ticket or the token, which is not shown, and Enter:");
    line(console.input())
}

/// What is typed, edited by the one key that everybody needs.
fn line(from: impl BufRead) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    for byte in from.bytes() {
        match byte.map_err(|error| format!("standard input: {error}"))? {
            b'\r' | b'\n' | END_OF_INPUT => break,
            END_OF_TEXT => return Err("given up".to_owned()),
            BACKSPACE | DELETE => drop(line.pop()),
            byte if line.len() < LONGEST => line.push(byte),
            _ => return Err("the credential does not end".to_owned()),
        }
    }
    Ok(line)
}

/// A terminal that shows nothing, as long as this lives.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        hidden.control_chars[At::VMIN as usize] = 1;
        hidden.control_chars[At::VTIME as usize] = 0;
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_its_writer_ends_it() {
        let typed = |bytes: &[u8]| line(bytes).map(|line| line.to_vec());
        assert_eq!(typed(b"PT-1\nrest").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-22\x7f\x7f1\r").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-1\x04").unwrap(), b"PT-1");
        assert_eq!(typed(b"PT-1").unwrap(), b"PT-1");
        assert!(typed(b"PT-1\x03\n").is_err());
        assert!(typed(&[b'x'; LONGEST + 1]).is_err());
    }
}
