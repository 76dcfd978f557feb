//! The tests that SECURITY.md names exist.

use std::fs;
use test_support::documents::{links, page, root};

/// A test that the table names: its file and function, the make target that runs it if it is
/// ignored by default, and whether it needs root.
struct NamedTest {
    file: String,
    function: String,
    target: Option<String>,
    as_root: bool,
}

/// Parses the last column of a row: a file, followed by its functions. A function may be followed
/// by a make target or `(as root)`.
fn named_tests(row: &str) -> Vec<NamedTest> {
    let mut all: Vec<NamedTest> = Vec::new();
    let mut file = None;
    let texts: Vec<&str> = row.split('`').collect();
    for pair in texts[1..].chunks(2) {
        let (span, following) = (pair[0], pair.get(1).copied().unwrap_or_default());
        if let Some(target) = span.strip_prefix("make ") {
            let last = all.last_mut().expect(row);
            last.target = Some(target.to_owned());
        } else if span.ends_with(".rs") {
            file = Some(span.to_owned());
        } else {
            all.push(NamedTest {
                file: file.clone().expect(row),
                function: span.to_owned(),
                target: None,
                as_root: following.starts_with(" (as root)"),
            });
        }
    }
    all
}

#[test]
fn every_defence_is_tested() {
    let page = page("SECURITY.md");
    let broken = links::broken(&page);
    assert!(broken.is_empty(), "{broken:#?}");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("cannot read the Makefile");
    let rows = page.text.lines().filter(|line| line.starts_with("| "));
    // Skips the head of the table.
    let rows: Vec<&str> = rows.skip(1).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, tests] = cells[..] else {
            panic!("not three columns: {row}");
        };
        let tests = named_tests(tests);
        assert!(!tests.is_empty(), "no test is named: {row}");
        for test in tests {
            let NamedTest { file, function, .. } = &test;
            let text = fs::read_to_string(root().join(file)).expect(file);
            let position = text.find(&format!("fn {function}()"));
            let before = &text[..position.unwrap_or_else(|| panic!("{file} has no {function}"))];
            let attributes = before.rsplit("\n\n").next().expect("the file is empty");
            assert!(attributes.contains("#[test]"), "{file}: {function}");
            let is_ignored = attributes.contains("#[ignore");
            assert_eq!(is_ignored, test.target.is_some(), "{file}: {function}");
            let body = text[before.len()..].split("\n}\n").next();
            let needs_root = body.is_some_and(|body| body.contains("can_as_root()"));
            assert_eq!(needs_root, test.as_root, "{file}: {function}, as root");
            if let Some(target) = &test.target {
                assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
            }
        }
    }
}
