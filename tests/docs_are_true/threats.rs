//! SECURITY.md names tests, and there they are.

use crate::documents::{links, page, root};
use std::fs;

/// A test that the table names: its file, its function, and the target that runs it if it is not in
/// every run.
struct Shown {
    file: String,
    function: String,
    target: Option<String>,
}

/// The tests in the last column of a row: a file, functions in it, and behind a function its target.
fn shown_by(row: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut file = None;
    for span in row.split('`').skip(1).step_by(2) {
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
            if let Some(target) = &test.target {
                assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
            }
        }
    }
}
