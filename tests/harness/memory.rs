//! What is in the memory of a process: all that a core dump of it would hold.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// So much of a secret in a row is a piece of it, in bytes: nothing else looks like that.
const PIECE: usize = 12;
/// So much is read at once.
const CHUNK: usize = 1 << 12;
/// In bytes.
const PAGE: usize = 4096;
static NOTHING: [u8; CHUNK] = [0; CHUNK];

/// A secret and what it is called in a message.
pub struct Secret {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Some mapping of a process.
struct Mapping {
    start: u64,
    end: u64,
    /// Its line in /proc.
    line: String,
    is_present: bool,
}

/// Which memory of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// All that can be read.
    Anywhere,
    /// What the process can write: its heaps, its stacks, its variables.
    Writable,
}

/// Where in the memory of the process `pid` there is a piece of a secret: of which one, and
/// what mapping it is in.
pub fn pieces(pid: u32, place: Where, secrets: &[Secret]) -> Vec<String> {
    let mut wanted: HashMap<&[u8], &str> = HashMap::new();
    // What most bytes fail by, at once.
    let mut begins = vec![false; 1 << 16];
    for secret in secrets {
        assert!(secret.bytes.len() >= PIECE, "{} is too short", secret.name);
        for piece in secret.bytes.windows(PIECE) {
            wanted.insert(piece, &secret.name);
            begins[begin(piece)] = true;
        }
    }
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the memory of the process");
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for mapping in mappings(pid, place) {
        let mut last = "";
        for (address, bytes) in chunks(&memory, &mapping) {
            looked_at += bytes.len();
            // Most of it.
            if bytes[..] == NOTHING[..bytes.len()] {
                continue;
            }
            for (offset, piece) in bytes.windows(PIECE).enumerate() {
                if !begins[begin(piece)] {
                    continue;
                }
                let Some(name) = wanted.get(piece) else {
                    continue;
                };
                // The others of this secret are next to it, as a rule.
                if last != *name {
                    let address = address + offset as u64;
                    found.push(format!("{name} at {address:x}, in {}", mapping.line));
                    last = name;
                }
            }
        }
    }
    assert!(looked_at > 1 << 16, "only {looked_at} bytes of {pid}");
    found
}

fn begin(piece: &[u8]) -> usize {
    usize::from(piece[0]) << 8 | usize::from(piece[1])
}

/// The mappings that can be read and have something in memory.
fn mappings(pid: u32, place: Where) -> Vec<Mapping> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process' mappings");
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if let Some((start, end)) = first.split_once('-') {
            let number = |hex| u64::from_str_radix(hex, 16).expect("an address");
            mappings.push(Mapping {
                start: number(start),
                end: number(end),
                line: line.to_owned(),
                is_present: false,
            });
        } else if let (Some(mapping), "Rss:" | "Swap:") = (mappings.last_mut(), first) {
            mapping.is_present |= second != "0";
        }
    }
    let wanted = if place == Where::Writable { "rw" } else { "r" };
    let is_wanted = |mapping: &Mapping| {
        let rights = mapping.line.split_whitespace().nth(1);
        rights.is_some_and(|rights| rights.starts_with(wanted))
    };
    mappings.retain(|mapping| mapping.is_present && is_wanted(mapping));
    mappings
}

/// What is in a mapping, in pieces that overlap, without what cannot be read of it.
fn chunks<'m>(
    memory: &'m File,
    mapping: &Mapping,
) -> impl Iterator<Item = (u64, Vec<u8>)> + use<'m> {
    let (end, mut next) = (mapping.end, mapping.start);
    std::iter::from_fn(move || {
        while next < end {
            let start = next;
            let left = usize::try_from(end - start).unwrap_or(CHUNK);
            let mut bytes = vec![0; left.min(CHUNK)];
            let read = memory.read_at(&mut bytes, start).unwrap_or(0);
            // Behind the end of a file that is mapped, for one.
            if read == 0 {
                next = (start / PAGE as u64 + 1) * PAGE as u64;
                continue;
            }
            bytes.truncate(read);
            next = start + read as u64;
            if next < end && read > PIECE {
                next -= PIECE as u64 - 1;
            }
            return Some((start, bytes));
        }
        None
    })
}
