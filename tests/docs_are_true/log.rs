//! The log is what `docs/log.md` says; its fields and reasons are held to the code beside that.

use crate::documents::{Kind, log_lines, page, pages};

#[test]
fn every_line_of_the_log_that_is_shown_is_one_that_can_be() {
    let log = page("docs/log.md").text;
    let is_in_log = |word: &str| log.contains(&format!("\n| `{word}` |"));
    let mut shown = 0;
    for block in pages().into_iter().flat_map(|page| page.blocks) {
        let lines = block.lines.iter().filter(|_| block.kind == Kind::Log);
        for line in lines {
            let fields = line.strip_prefix("sso: ").expect(&block.place);
            // What is between quotes is a value, and has no field in it.
            let fields: String = fields.split('"').step_by(2).collect();
            for field in fields.split_whitespace() {
                let (name, value) = field.split_once('=').expect(&block.place);
                assert!(is_in_log(name), "{}: {name}", block.place);
                let is_code = matches!(name, "outcome" | "reason");
                assert!(!is_code || is_in_log(value), "{}: {value}", block.place);
            }
            shown += 1;
        }
    }
    assert!(shown >= 3, "{shown} lines");
}

#[test]
fn every_line_that_can_be_in_the_log_is_documented_and_no_other_is() {
    let log = page("docs/log.md").text;
    let rows = log.lines().filter_map(|line| line.strip_prefix("| `sso: "));
    let mut documented: Vec<String> = rows
        .filter_map(|row| row.split_once('`'))
        .map(|(line, _)| format!("sso: {line}"))
        .collect();
    documented.sort();
    let mut lines = log_lines::of_source();
    // That of a decision has fields, which are in a table of their own.
    lines.retain(|line| line != "sso: mech=…");
    assert!(lines.len() >= 15, "{lines:#?}");
    assert_eq!(documented, lines);
}
