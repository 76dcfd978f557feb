//! `docs/log.md` documents the lines of the log. Unit tests compare its fields and reasons with the
//! code.

use test_support::documents::{Kind, log_lines, page, pages};

#[test]
fn log_samples_contain_only_documented_fields() {
    let log = page("docs/log.md").text;
    let is_in_log = |word: &str| log.contains(&format!("\n| `{word}` |"));
    let mut shown = 0;
    for block in pages().into_iter().flat_map(|page| page.blocks) {
        let lines = block.lines.iter().filter(|_| block.kind == Kind::Log);
        for line in lines {
            let fields = line.strip_prefix("sso: ").expect(&block.place);
            // Quoted values contain no fields.
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
fn documented_log_lines_are_exactly_those_of_the_code() {
    let log = page("docs/log.md").text;
    let rows = log.lines().filter_map(|line| line.strip_prefix("| `sso: "));
    let mut documented: Vec<String> = rows
        .filter_map(|row| row.split_once('`'))
        .map(|(line, _)| format!("sso: {line}"))
        .collect();
    documented.sort();
    let mut lines = log_lines::of_source();
    // The fields of an outcome's line have a table of their own.
    lines.retain(|line| line != "sso: mech=…");
    assert!(lines.len() >= 15, "{lines:#?}");
    assert_eq!(documented, lines);
}
