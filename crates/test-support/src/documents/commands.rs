//! Runs the commands of the documentation, with names replaced.

use super::docs_env::DocsEnv;
use super::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Commands that another test covers: the command, the file of the test, and a line in it.
const TESTED_ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "apt install ./target/deb/*.deb",
        PACKAGE_LIFECYCLE.0,
        PACKAGE_LIFECYCLE.1,
    ),
    (
        "apt purge sasl-sso libsasl2-modules-sso",
        PACKAGE_LIFECYCLE.0,
        PACKAGE_LIFECYCLE.1,
    ),
];

/// The test of the packages in a private Debian system.
const PACKAGE_LIFECYCLE: (&str, &str) = (
    "tests/packages/lifecycle.rs",
    "fn packages_install_upgrade_and_purge_without_traces()",
);

/// Runs a command and returns its output.
pub fn run(env: &DocsEnv, place: &str, line: &str) -> String {
    let command = line.strip_prefix("sudo ").unwrap_or(line);
    let words: Vec<&str> = command.split_whitespace().collect();
    let other_test = TESTED_ELSEWHERE
        .iter()
        .find(|(known, ..)| *known == command);
    match (words[0], other_test) {
        (_, Some((_, file, name))) => {
            let test = fs::read_to_string(root().join(file));
            let test = test.unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
            assert!(test.contains(name), "{place}: {file} has no {name}");
            String::new()
        }
        ("sasl-sso", None) => env.sasl_sso(place, &words[1..]),
        ("make", None) => make(env, place, &words[1..]),
        ("systemctl", None) => systemctl(env, place, &words[1..]),
        ("journalctl", None) => {
            let name = format!("{}.service", words[words.len() - 1]);
            assert!(unit(env, &name).is_some(), "{place}: no unit {name}");
            String::new()
        }
        ("install", None) => install(env, place, &words[1..]),
        ("apt", None) => apt(env, place, &words[1..]),
        _ => panic!("{place}: \"{command}\" is not tested"),
    }
}

/// Runs `make install` with a private DESTDIR. Other targets are only run with `--dry-run`, because
/// the tests themselves are run by make.
fn make(env: &DocsEnv, place: &str, words: &[&str]) -> String {
    let mut make = env.scratch.command("make");
    make.args(["--no-print-directory", "-C"]).arg(root());
    make.args(words);
    match words {
        ["install" | "uninstall"] => make.arg(format!("DESTDIR={}", env.root().display())),
        [_] => make.arg("--dry-run"),
        _ => panic!("{place}: make with more than one target"),
    };
    env.scratch.run("make", make, "")
}

/// Checks the units that a command names, because systemd does not run here: each must exist, ours
/// or Debian's, and support the verb.
fn systemctl(env: &DocsEnv, place: &str, words: &[&str]) -> String {
    let (verb, units) = words.split_first().expect("systemctl without a verb");
    for name in units.iter().filter(|word| !word.starts_with("--")) {
        let unit = unit(env, name).unwrap_or_else(|| panic!("{place}: no unit {name}"));
        let needs = match *verb {
            "enable" | "disable" => "\n[Install]\n",
            "reload" => "\nExecReload=",
            "start" | "restart" | "try-restart" | "status" | "daemon-reload" => "",
            _ => panic!("{place}: systemctl {verb}"),
        };
        let text = fs::read_to_string(&unit).expect("cannot read the unit");
        assert!(
            text.contains(needs),
            "{place}: {} has no {needs}",
            unit.display()
        );
    }
    String::new()
}

fn unit(env: &DocsEnv, name: &str) -> Option<PathBuf> {
    let ours = env.root().join("lib/systemd/system").join(name);
    if !ours.exists() {
        make(env, name, &["install"]);
    }
    let packaged = Path::new("/lib/systemd/system").join(name);
    [ours, packaged].into_iter().find(|path| path.exists())
}

/// Runs `install` with the last word, a path, below the private root. Without root, it does not set
/// the owner.
fn install(env: &DocsEnv, place: &str, words: &[&str]) -> String {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let path = words.pop().expect("install without a path");
    assert!(path.starts_with('/'), "{place}: {path}");
    if !nix::unistd::geteuid().is_root() {
        while let Some(owner) = words.iter().position(|word| word == "-o" || word == "-g") {
            words.drain(owner..owner + 2);
        }
    }
    let mut install = env.scratch.command("install");
    install.args(words);
    install.arg(env.root().join(path.trim_start_matches('/')));
    fs::create_dir_all(env.root().join("run")).expect("cannot create a directory");
    env.scratch.run("install", install, "")
}

/// Checks that the packages are installed here, as the build and the tests need them.
fn apt(env: &DocsEnv, place: &str, words: &[&str]) -> String {
    let ("install", packages) = (words[0], &words[1..]) else {
        panic!("{place}: apt {}", words[0]);
    };
    let mut query = env.scratch.command("dpkg-query");
    query.arg("--status").args(packages);
    env.scratch.run("dpkg-query", query, "")
}
