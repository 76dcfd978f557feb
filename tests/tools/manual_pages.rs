//! The manual pages describe the program and the plugin. Their lists of commands and options are
//! generated from the command line and the table of options; the rest is compared with both.
#![allow(clippy::expect_used)]

mod commands;
mod options;
mod roff;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use sso_core::config::{Config, Options, is_option};

const PROGRAM: &str = include_str!("../../man/sasl-sso.8");
const CONF: &str = include_str!("../../man/sasl-sso.conf.5");

/// Replaces the generated part of `page`, between two marker comments, with `list`.
fn with_list(page: &str, list: &str) -> String {
    let (before, rest) = page
        .split_once(".\\\" From the")
        .expect("the page has no comment at the start of the list");
    let (first, _) = rest.split_once('\n').expect("the comment is not closed");
    let (_, last) = rest
        .split_once(".\\\" The end")
        .expect("the page has no comment at the end of the list");
    format!("{before}.\\\" From the{first}\n{list}.\\\" The end{last}")
}

fn assert_up_to_date(name: &str, page: &str, list: &str) {
    let wanted = with_list(page, list);
    if wanted != page {
        let generated = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&generated, wanted).expect("cannot write the generated page");
        panic!("man/{name} is out of date: cp {} man/", generated.display());
    }
}

#[test]
fn command_list_matches_the_command_line() {
    assert_up_to_date("sasl-sso.8", PROGRAM, &commands::commands());
}

#[test]
fn option_list_matches_the_table() {
    assert_up_to_date("sasl-sso.conf.5", CONF, &options::options());
}

#[test]
fn pages_have_the_version_of_the_crate() {
    let version = format!("\"sasl\\-sso {}\"", env!("CARGO_PKG_VERSION"));
    for page in [PROGRAM, CONF] {
        assert!(page.lines().next().is_some_and(|l| l.contains(&version)));
    }
}

/// Returns a page without its generated list.
fn without_list(page: &str) -> String {
    with_list(page, "")
}

/// Returns the words of a page without markup.
fn words(page: &str) -> Vec<String> {
    let text = ["\\fB", "\\fI", "\\fR"]
        .iter()
        .fold(page.replace("\\-", "-"), |text, font| {
            text.replace(font, "")
        });
    let of_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.split(|c| !of_word(c)).map(str::to_owned).collect()
}

#[test]
fn mentioned_commands_and_flags_exist() {
    let mut program = sso_cli::commands::command();
    program.build();
    let mut commands = BTreeSet::new();
    // Flags of other programs in the examples.
    let mut flags = BTreeSet::from(["--now".to_owned()]);
    let mut todo = vec![&program];
    while let Some(command) = todo.pop() {
        commands.insert(command.get_name().to_owned());
        let longs = command.get_arguments().filter_map(clap::Arg::get_long);
        flags.extend(longs.map(|long| format!("--{long}")));
        todo.extend(command.get_subcommands());
    }
    for page in [PROGRAM, CONF].map(without_list) {
        for word in words(&page).iter().filter(|word| word.starts_with("--")) {
            assert!(flags.contains(word.trim_end_matches('.')), "{word}");
        }
        for line in page.lines().map(|line| line.replace("\\-", "-")) {
            let line = line.trim_start_matches(".B ");
            let called = line
                .split("sasl-sso ")
                .nth(1)
                .filter(|_| !line.starts_with(".TH"));
            let word = called.and_then(|rest| rest.split([' ', '`', '\\', '"']).next());
            if let Some(word) = word.filter(|word| word.starts_with(char::is_alphabetic)) {
                assert!(commands.contains(word), "{line}");
            }
        }
    }
}

#[test]
fn mentioned_options_exist() {
    struct Issuer;
    impl Options for Issuer {
        fn get(&self, name: &str) -> Option<String> {
            (name == "jwt_issuers").then(|| "univ portal x NAME".to_owned())
        }
    }
    let pages = [PROGRAM, CONF].map(without_list);
    for word in pages.iter().flat_map(|page| words(page)) {
        let name = word.trim_end_matches('.');
        let name = name.split_once("sasl_").map_or(name, |(_, name)| name);
        let is_ours = ["caspt_", "jwt_", "sso_"]
            .iter()
            .any(|p| name.starts_with(p));
        if is_ours && !name.ends_with('_') {
            assert!(is_option(&Issuer, name), "{name}");
        }
    }
}

/// The settings of an example, without the prefix `sasl_`.
struct Example(Vec<(String, String)>);

impl Options for Example {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    }
}

#[test]
fn every_example_is_a_valid_configuration() {
    let examples: Vec<&str> = CONF
        .split(".EX\n")
        .skip(1)
        .filter_map(|rest| rest.split(".EE\n").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        let lines = example.lines().map(|line| line.replace("\\-", "-"));
        let options = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let name = name.strip_prefix("sasl_").unwrap_or(name);
            Some((name.to_owned(), value.to_owned()))
        });
        let example = Example(options.collect());
        for (name, _) in &example.0 {
            assert!(name == "mech_list" || is_option(&example, name), "{name}");
        }
        let config = Config::read(&example).expect("the example is invalid");
        assert!(config.cas.is_some() || config.jwt.is_some());
    }
}

#[test]
fn groff_formats_the_pages_without_warnings() {
    for page in ["sasl-sso.8", "sasl-sso.conf.5"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page);
        let groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-z", "-rCHECKSTYLE=3"])
            .arg(&path)
            .output()
            .expect("cannot run groff");
        let warnings = String::from_utf8_lossy(&groff.stderr);
        assert!(groff.status.success() && warnings.is_empty(), "{warnings}");
    }
}
