//! What administrators read: the pages, and the blocks in them.
//!
//! A block is between two fences, and says behind the first one what it is:
//!
//! - `conf imapd.conf` or `conf smtpd.conf`: lines for that file; one more word is its name.
//! - `conf way-back`: lines that take others back.
//! - `sh`: commands, one a line.
//! - `text output`: what the last command before it prints, `…` standing for anything.
//! - `text log`: lines of the log.
//! - `text protocol`, `text diagram`: for the eye alone.
//!
//! Nothing else is a block, so that nothing escapes the tests.

// Each test binary has all of it and uses a part.
#![allow(dead_code)]
// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

pub mod commands;
pub mod links;
pub mod log_lines;
pub mod site;

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a configuration file: which one, and the block's name.
    Conf(String, String),
    Commands,
    Output,
    Log,
    /// For the eye alone.
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
            ["text", "protocol" | "diagram"] => Some(Self::Picture),
            _ => None,
        }
    }
}

/// A block of a page.
#[derive(Clone, Debug)]
pub struct Block {
    pub kind: Kind,
    /// The page and the line, for whoever mends it.
    pub place: String,
    /// Its lines, without the blanks that all of them begin with in a list.
    pub lines: Vec<String>,
}

impl Block {
    /// The lines `key: value` of a configuration.
    pub fn settings(&self) -> Vec<(String, String)> {
        let settings = self.lines.iter().map(|line| {
            let pair = line.split_once(": ");
            let (key, value) = pair.unwrap_or_else(|| panic!("{}: {line}", self.place));
            (key.to_owned(), value.to_owned())
        });
        settings.collect()
    }
}

/// A page.
pub struct Page {
    /// From the project's directory on.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
    pub blocks: Vec<Block>,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a page");
        let name = path.strip_prefix(root()).expect("a page of ours");
        let name = name.display().to_string();
        Self {
            blocks: blocks(&name, &text),
            name,
            path,
            text,
        }
    }

    /// Its lines outside of blocks, with their numbers.
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

    /// What stands between backquotes in its prose, with the line's number.
    pub fn code_spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        // A span may go over the end of a line.
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
                "{}:{number}: a backquote is left open",
                self.name
            );
        }
        spans
    }
}

/// All pages.
pub fn pages() -> Vec<Page> {
    let entries = fs::read_dir(root().join("docs")).expect("the documentation");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a page").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths.insert(0, root().join("README.md"));
    paths.into_iter().map(Page::read).collect()
}

/// The page of this name.
pub fn page(name: &str) -> Page {
    Page::read(root().join(name))
}

/// The block of this name.
pub fn named(wanted: &str) -> Block {
    let blocks = page("README.md").blocks.into_iter();
    let mut blocks =
        blocks.filter(|block| matches!(&block.kind, Kind::Conf(_, name) if name == wanted));
    blocks.next().expect(wanted)
}

/// The blocks of this file.
pub fn configurations(wanted: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks);
    let of_file = |block: &Block| matches!(&block.kind, Kind::Conf(file, _) if file == wanted);
    blocks.filter(of_file).collect()
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
                    assert!(blanks.trim().is_empty(), "{place}: is not in the list");
                    block.lines.push(rest.to_owned());
                }
                None => assert!(
                    !line.starts_with("    "),
                    "{place}: put it between fences, and say what it is"
                ),
            }
            continue;
        };
        match open.take() {
            Some((block, _)) => {
                assert_eq!(marker, "", "{place}: the block before has no end");
                blocks.push(block);
            }
            None => {
                let kind = Kind::of(marker);
                let kind = kind.unwrap_or_else(|| panic!("{place}: what is \"{marker}\"?"));
                let lines = Vec::new();
                open = Some((Block { kind, place, lines }, line.len() - trimmed.len()));
            }
        }
    }
    assert!(open.is_none(), "{page}: the last block has no end");
    blocks
}
