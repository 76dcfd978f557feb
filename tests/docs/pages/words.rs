//! Options, files and commands that are mentioned exist, and links resolve.

use std::fs;
use std::process::Command;
use test_support::documents::docs_env::program;
use test_support::documents::{links, page, pages, root};
use test_support::examples;

#[test]
fn links_resolve() {
    let guide = page("CONTRIBUTING.md");
    let pages = pages();
    let broken: Vec<String> = pages
        .iter()
        .chain([&guide])
        .flat_map(links::broken)
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn readme_and_architecture_link_to_every_page() {
    let readme = page("README.md").text;
    let architecture = page("docs/architecture.md").text;
    for page in pages().iter().skip(1) {
        let is_linked = match page.name.strip_prefix("docs/decisions/") {
            Some(decision) => architecture.contains(&format!("(decisions/{decision})")),
            None => readme.contains(&format!("({})", page.name)),
        };
        assert!(is_linked, "{}", page.name);
    }
}

#[test]
fn contributing_guide_names_existing_files_and_all_make_targets() {
    let guide = page("CONTRIBUTING.md");
    for (number, span) in guide.code_spans() {
        assert_path_exists(&format!("{}:{number}: {span}", guide.name), &span);
    }
    let makefile = fs::read_to_string(root().join("Makefile")).expect("cannot read the Makefile");
    let (_, phony) = makefile
        .split_once("\n.PHONY:")
        .expect("no phony targets in the Makefile");
    let (phony, _) = phony.split_once("\n\n").expect("no end of the targets");
    let targets = phony.split_whitespace().filter(|word| *word != "\\");
    for target in targets.filter(|target| !target.starts_with("packages-")) {
        let row = format!("\n| `make {target}`");
        assert!(guide.text.contains(&row), "no row for make {target}");
    }
}

#[test]
fn mentioned_options_files_and_commands_exist() {
    let options = page("docs/options.md").text;
    let mut named = 0;
    for page in pages() {
        for (number, span) in page.code_spans() {
            let place = format!("{}:{number}: {span}", page.name);
            let is_metric = page.text.contains(&format!("\n| `{span}` |"));
            if let Some(name) =
                option_in(&span).filter(|_| !is_metric || !span.starts_with("sasl_"))
            {
                assert!(options.contains(&format!("\n| `{name}` |")), "{place}");
                named += 1;
            }
            assert_path_exists(&place, &span);
            assert_command_exists(&place, &span);
        }
    }
    assert!(named >= 100, "{named} options");
    for path in examples::all() {
        let text = fs::read_to_string(&path).expect("cannot read the example");
        for line in text.lines() {
            for span in line.split('`').skip(1).step_by(2) {
                assert_command_exists(&format!("{}: {span}", path.display()), span);
            }
        }
    }
}

/// Checks that a span that looks like a path of this repository names an existing file.
fn assert_path_exists(place: &str, span: &str) {
    const DIRECTORIES: [&str; 9] = [
        "crates/",
        "cyrus-conf-examples/",
        "debian/",
        "docs/",
        "fuzz/",
        "sasl-headers/",
        "scripts/",
        "src/",
        "tests/",
    ];
    if DIRECTORIES.iter().any(|prefix| span.starts_with(prefix)) {
        assert!(root().join(span).exists(), "{place}");
    }
}

/// Returns the option of the plugin in a span, spelled as in the reference.
fn option_in(span: &str) -> Option<&str> {
    let word = span.split([':', ' ']).next()?;
    let word = word.strip_prefix("pop3_").unwrap_or(word);
    let word = word.strip_prefix("sasl_").unwrap_or(word);
    let is_plugin_option = ["caspt_", "jwt_", "sso_"]
        .iter()
        .any(|prefix| word.starts_with(prefix));
    // `jwt_x_…` are options of the issuer `x`.
    (is_plugin_option && !word.starts_with("jwt_x_") && !word.ends_with('_')).then_some(word)
}

/// Checks that a mention of the program names an existing command with existing arguments.
fn assert_command_exists(place: &str, span: &str) {
    let Some(words) = span.strip_prefix("sasl-sso ") else {
        return;
    };
    let words: Vec<&str> = words.split_whitespace().collect();
    let commands = words
        .iter()
        .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
    let mut help = Command::new(program());
    let output = help.args(commands).arg("--help").output();
    let output = output.expect("cannot run sasl-sso: run `make build`");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{place}: {output:?}");
    for option in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{place}");
    }
}
