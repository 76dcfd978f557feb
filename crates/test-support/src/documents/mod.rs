//! Parses the documentation into pages and blocks.
//!
//! A block is a fenced code block. Its info string says what it contains:
//!
//! - `conf imapd.conf` or `conf smtpd.conf`: lines for that file; a third word is the block's name.
//! - `conf way-back`: lines that undo others.
//! - `sh`: commands, one per line.
//! - `text output`: the output of the preceding command, with `…` for any text.
//! - `text log`: lines of the log.
//! - `text protocol`, `text diagram`, `mermaid`: not tested.
//!
//! Any other info string is an error, so that no block escapes the tests.

// Each test binary compiles the whole module and uses a part of it.
#![allow(dead_code)]
// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

pub mod commands;
pub mod docs_env;
pub mod links;
pub mod log_lines;

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the root directory of the project.
pub fn root() -> &'static Path {
    Path::new(crate::ROOT)
}

/// The contents of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lines of a configuration file, with the file and the name of the block.
    Conf(String, String),
    Commands,
    Output,
    Log,
    /// Not tested.
    Picture,
}

impl Kind {
    fn of(marker: &str) -> Option<Self> {
        let words: Vec<&str> = marker.split_whitespace().collect();
        match words[..] {
            ["conf", file @ ("imapd.conf" | "smtpd.conf" | "way-back")] => {
                Some(Self::Conf(file.to_owned(), String::new()))
            }
            ["conf", "imapd.conf", name] => {
                Some(Self::Conf("imapd.conf".to_owned(), name.to_owned()))
            }
            ["sh"] => Some(Self::Commands),
            ["text", "output"] => Some(Self::Output),
            ["text", "log"] => Some(Self::Log),
            ["text", "protocol" | "diagram"] | ["mermaid"] => Some(Self::Picture),
            _ => None,
        }
    }
}

/// A fenced code block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    pub kind: Kind,
    /// The page and the line, for error messages.
    pub place: String,
    /// The lines, without the indentation of a list that contains the block.
    pub lines: Vec<String>,
}

impl Block {
    /// Returns the settings `key: value` of a configuration.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = self.lines.iter().map(|line| {
            let pair = line.split_once(": ");
            let (key, value) = pair.unwrap_or_else(|| panic!("{}: {line}", self.place));
            (key.to_owned(), value.to_owned())
        });
        settings.collect()
    }
}

/// A page of the documentation.
pub struct Page {
    /// The path from the root directory of the project.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    pub blocks: Vec<Block>,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("cannot read the page");
        let name = path
            .strip_prefix(root())
            .expect("the page is not in the project");
        let name = name.display().to_string();
        Self {
            blocks: blocks(&name, &text),
            name,
            path,
            text,
        }
    }

    /// Returns the numbered lines outside of blocks.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_block = false;
        let lines = (1..).zip(self.text.lines());
        let outside = lines.filter(|(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_block ^= is_fence;
            !is_block && !is_fence
        });
        outside.collect()
    }

    /// Returns the code spans outside of blocks, with their line numbers.
    pub fn code_spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        // A span may continue on the next line.
        let mut before: Option<(usize, String)> = None;
        for (number, line) in self.prose() {
            for (position, part) in line.split('`').enumerate() {
                if position > 0 {
                    match before.take() {
                        Some(span) => spans.push(span),
                        None => before = Some((number, String::new())),
                    }
                }
                if let Some((_, span)) = &mut before {
                    if !span.is_empty() {
                        span.push(' ');
                    }
                    *span += part.trim();
                }
            }
            assert!(
                before.is_none() || !line.is_empty(),
                "{}:{number}: a code span is not closed",
                self.name
            );
        }
        spans
    }
}

/// Returns README.md and all pages of `docs/` and `docs/decisions/`.
pub fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    for directory in ["docs", "docs/decisions"] {
        paths.extend(pages_in(&root().join(directory)));
    }
    paths.into_iter().map(Page::read).collect()
}

/// Returns the sorted paths of the pages in a directory.
fn pages_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("cannot list the documentation");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("cannot list the documentation").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths
}

/// Returns the page with this path.
pub fn page(name: &str) -> Page {
    Page::read(root().join(name))
}

/// Returns the block of README.md with this name.
pub fn named(wanted: &str) -> Block {
    let blocks = page("README.md").blocks.into_iter();
    let mut blocks =
        blocks.filter(|block| matches!(&block.kind, Kind::Conf(_, name) if name == wanted));
    blocks.next().expect(wanted)
}

/// Returns all blocks for this configuration file.
pub fn configurations(wanted: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks);
    let is_for_file = |block: &Block| matches!(&block.kind, Kind::Conf(file, _) if file == wanted);
    blocks.filter(is_for_file).collect()
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{page}:{number}");
        let trimmed = line.trim_start();
        let Some(marker) = trimmed.strip_prefix("```") else {
            match &mut open {
                Some((block, indent)) => {
                    let (blanks, rest) = line.split_at((*indent).min(line.len()));
                    assert!(
                        blanks.trim().is_empty(),
                        "{place}: the line is not indented like its block"
                    );
                    block.lines.push(rest.to_owned());
                }
                None => assert!(
                    !line.starts_with("    "),
                    "{place}: an indented block is not allowed: use a fenced one"
                ),
            }
            continue;
        };
        match open.take() {
            Some((block, _)) => {
                assert_eq!(
                    marker, "",
                    "{place}: the block before this line is not closed"
                );
                blocks.push(block);
            }
            None => {
                let kind = Kind::of(marker);
                let kind =
                    kind.unwrap_or_else(|| panic!("{place}: unknown info string \"{marker}\""));
                let lines = Vec::new();
                open = Some((Block { kind, place, lines }, line.len() - trimmed.len()));
            }
        }
    }
    assert!(open.is_none(), "{page}: the last block is not closed");
    blocks
}
