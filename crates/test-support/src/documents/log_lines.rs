//! Extracts the log lines that the code can write from its source.

use super::root;
use std::fs;
use std::path::Path;

/// Returns the literals `"sso: …"` of the source without its tests. `…` stands for formatted
/// values.
pub fn of_source() -> Vec<String> {
    let mut lines = Vec::new();
    for directory in ["src", "crates/core/src", "crates/cli/src"] {
        collect(&root().join(directory), &mut lines);
    }
    lines.sort();
    lines.dedup();
    lines
}

fn collect(directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("cannot list the source") {
        let path = entry.expect("cannot list the source").path();
        if path.is_dir() {
            collect(&path, lines);
        } else if !path.display().to_string().ends_with("tests.rs") {
            let text = fs::read_to_string(&path).expect("cannot read the source file");
            let code = text.split("#[cfg(test)]\nmod tests").next();
            lines.extend(literals(code.unwrap_or_default()));
        }
    }
}

fn literals(code: &str) -> impl Iterator<Item = String> + '_ {
    code.split("\"sso: ").skip(1).map(|rest| {
        let end = rest.find('"').expect("the literal is not closed");
        format!("sso: {}", without_values(&joined(&rest[..end])))
    })
}

/// Joins the lines of a literal.
fn joined(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

fn without_values(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (_, rest) = part.split_once('}').expect("the placeholder is not closed");
        format!("{text}…{rest}")
    })
}
