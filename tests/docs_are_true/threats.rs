//! SECURITY.md names tests, and there they are.

use crate::documents::{links, page, root};
use std::fs;

/// A test that the table names: its file, its function, the target that runs it if it is not in
/// every run, and whether only root can try it.
struct Shown {
    file: String,
    function: String,
    target: Option<String>,
    as_root: bool,
}

/// The tests in the last column of a row: a file, functions in it, and behind a function its target
/// or that it is root's.
fn shown_by(row: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut file = None;
    let texts: Vec<&str> = row.split('`').collect();
    for pair in texts[1..].chunks(2) {
        let (span, behind) = (pair[0], pair.get(1).copied().unwrap_or_default());
        if let Some(target) = span.strip_prefix("make ") {
            let last = all.last_mut().expect(row);
            last.target = Some(target.to_owned());
        } else if span.ends_with(".rs") {
            file = Some(span.to_owned());
        } else {
            all.push(Shown {
                file: file.clone().expect(row),
                function: span.to_owned(),
                target: None,
                as_root: behind.starts_with(" (as root)"),
            });
        }
    }
    all
}

#[test]
fn every_defence_is_shown_by_tests_that_there_are() {
    let page = page("SECURITY.md");
    let broken = links::broken(&page);
    assert!(broken.is_empty(), "{broken:#?}");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let rows = page.text.lines().filter(|line| line.starts_with("| "));
    // Behind the head of the table.
    let rows: Vec<&str> = rows.skip(1).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, tests] = cells[..] else {
            panic!("not three columns: {row}");
        };
        let tests = shown_by(tests);
        assert!(!tests.is_empty(), "nothing shows it: {row}");
        for test in tests {
            let Shown { file, function, .. } = &test;
            let text = fs::read_to_string(root().join(file)).expect(file);
            let place = text.find(&format!("fn {function}()"));
            let before = &text[..place.unwrap_or_else(|| panic!("{file} has no {function}"))];
            let attributes = before.rsplit("\n\n").next().expect("what is before");
            assert!(attributes.contains("#[test]"), "{file}: {function}");
            let is_ignored = attributes.contains("#[ignore");
            assert_eq!(is_ignored, test.target.is_some(), "{file}: {function}");
            let body = text[before.len()..].split("\n}\n").next();
            let asks = body.is_some_and(|body| body.contains("can_as_root()"));
            assert_eq!(asks, test.as_root, "{file}: {function}, as root");
            if let Some(target) = &test.target {
                assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
            }
        }
    }
}
