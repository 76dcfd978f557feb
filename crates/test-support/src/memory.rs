//! Searches the memory of a process, including everything that a core dump would contain.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Number of consecutive bytes of a secret that count as a match. Shorter ones occur by chance.
const MATCH_BYTES: usize = 12;
/// Number of bytes to read at once.
const CHUNK_BYTES: usize = 1 << 12;
/// Memory page size in bytes.
const PAGE_BYTES: usize = 4096;
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// A secret to search for.
pub struct Secret {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// A memory mapping of a process.
struct Mapping {
    start: u64,
    end: u64,
    /// The line in /proc/PID/smaps.
    line: String,
    is_present: bool,
}

/// The part of a process's memory to search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// All readable memory.
    Anywhere,
    /// Writable memory: heaps, stacks and variables.
    Writable,
}

/// Returns where pieces of the secrets are in the memory of process `pid`: the name of the secret,
/// the address and the mapping.
pub fn pieces(pid: u32, place: Where, secrets: &[Secret]) -> Vec<String> {
    let mut wanted: HashMap<&[u8], &str> = HashMap::new();
    // Indexed by the first two bytes of a piece, to rule out most positions quickly.
    let mut begins = vec![false; 1 << 16];
    for secret in secrets {
        assert!(
            secret.bytes.len() >= MATCH_BYTES,
            "{} is too short",
            secret.name
        );
        for piece in secret.bytes.windows(MATCH_BYTES) {
            wanted.insert(piece, &secret.name);
            begins[begin(piece)] = true;
        }
    }
    let memory =
        File::open(format!("/proc/{pid}/mem")).expect("cannot open the memory of the process");
    let (mut found, mut searched) = (Vec::new(), 0);
    for mapping in mappings(pid, place) {
        let mut last = "";
        for (address, bytes) in chunks(&memory, &mapping) {
            searched += bytes.len();
            // Most memory is zero.
            if bytes[..] == ZEROS[..bytes.len()] {
                continue;
            }
            for (offset, piece) in bytes.windows(MATCH_BYTES).enumerate() {
                if !begins[begin(piece)] {
                    continue;
                }
                let Some(name) = wanted.get(piece) else {
                    continue;
                };
                // Overlapping pieces of the same secret are reported once.
                if last != *name {
                    let address = address + offset as u64;
                    found.push(format!("{name} at {address:x}, in {}", mapping.line));
                    last = name;
                }
            }
        }
    }
    assert!(
        searched > 1 << 16,
        "read only {searched} bytes of process {pid}"
    );
    found
}

fn begin(piece: &[u8]) -> usize {
    usize::from(piece[0]) << 8 | usize::from(piece[1])
}

/// Returns the readable mappings that have pages in memory or in swap.
fn mappings(pid: u32, place: Where) -> Vec<Mapping> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps"))
        .expect("cannot read the mappings of the process");
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        if let Some((start, end)) = first.split_once('-') {
            let number = |hex| u64::from_str_radix(hex, 16).expect("an address is not hexadecimal");
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

/// Reads a mapping in overlapping chunks and skips unreadable pages.
fn chunks<'m>(
    memory: &'m File,
    mapping: &Mapping,
) -> impl Iterator<Item = (u64, Vec<u8>)> + use<'m> {
    let (end, mut next) = (mapping.end, mapping.start);
    std::iter::from_fn(move || {
        while next < end {
            let start = next;
            let left = usize::try_from(end - start).unwrap_or(CHUNK_BYTES);
            let mut bytes = vec![0; left.min(CHUNK_BYTES)];
            let read = memory.read_at(&mut bytes, start).unwrap_or(0);
            // The page is unreadable, for example beyond the end of a mapped file.
            if read == 0 {
                next = (start / PAGE_BYTES as u64 + 1) * PAGE_BYTES as u64;
                continue;
            }
            bytes.truncate(read);
            next = start + read as u64;
            if next < end && read > MATCH_BYTES {
                next -= MATCH_BYTES as u64 - 1;
            }
            return Some((start, bytes));
        }
        None
    })
}
