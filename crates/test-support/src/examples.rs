//! The configuration examples.

use std::path::{Path, PathBuf};

/// Returns the directory of the examples.
pub fn directory() -> PathBuf {
    Path::new(crate::ROOT).join("cyrus-conf-examples")
}

/// Returns the paths of all examples, sorted.
pub fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).expect("cannot list the examples");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("cannot list the examples").path())
        .collect();
    paths.sort();
    paths
}

/// Returns the settings `key: value` of an example.
pub fn lines(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(directory().join(name)).expect(name);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Returns the text of an example with its commented-out options enabled. In those, the name
/// follows `#` without a space, unlike in prose.
pub fn with_all_options(text: &str) -> String {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if option.starts_with(is_name) => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Returns the parameters `-o name=value` of master.cf in the comments of an example.
pub fn master_cf_options(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(directory().join(name)).expect(name);
    text.lines()
        .filter_map(|line| line.strip_prefix("#       -o ")?.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
