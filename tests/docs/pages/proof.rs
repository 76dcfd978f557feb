//! The tests and make targets that the documentation names exist.

use std::fs;
use test_support::documents::{pages, root};

#[test]
fn named_tests_and_make_targets_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("cannot read the Makefile");
    let mut named = 0;
    for page in pages() {
        for (_, span) in page.code_spans() {
            if let Some(test) = span.strip_prefix("cargo test --test ") {
                let mut words = test.split(' ');
                let binary = root().join("tests").join(words.next().unwrap_or_default());
                let module = words.next().map(|module| module.trim_end_matches("::"));
                let source = format!("{}.rs", module.unwrap_or("main"));
                let exists = binary.join(source).exists();
                assert!(exists, "{}: no test {test}", page.name);
                named += 1;
            } else if let Some(words) = span.strip_prefix("make ") {
                let target = words.split(' ').next().unwrap_or_default();
                let is_there = makefile.contains(&format!("\n{target}:"));
                assert!(is_there, "{}: no target {target}", page.name);
                named += 1;
            }
        }
    }
    assert!(named >= 40, "{named}");
}
