//! The lines that the code can write to the log, as the source has them.

use super::root;
use std::fs;
use std::path::Path;

/// The literals `"sso: …"` of the source, but for those of its tests; what is filled in is `…`.
pub fn of_source() -> Vec<String> {
    let mut lines = Vec::new();
    collect(&root().join("src"), &mut lines);
    lines.sort();
    lines.dedup();
    lines
}

fn collect(directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("the source") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            collect(&path, lines);
        } else if !path.display().to_string().ends_with("tests.rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests").next();
            lines.extend(literals(code.unwrap_or_default()));
        }
    }
}

fn literals(code: &str) -> impl Iterator<Item = String> + '_ {
    code.split("\"sso: ").skip(1).map(|rest| {
        let end = rest.find('"').expect("the end of a literal");
        format!("sso: {}", filled_in(&unbroken(&rest[..end])))
    })
}

/// A literal without the ends of lines in it, each with the blanks behind it.
fn unbroken(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

fn filled_in(text: &str) -> String {
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (_, rest) = part.split_once('}').expect("what is filled in");
        format!("{text}…{rest}")
    })
}
