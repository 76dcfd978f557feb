//! The commands of the documentation, run as they stand there but for names.

use super::root;
use super::site::Site;
use std::fs;
use std::path::{Path, PathBuf};

/// What is not run here, and the test that proves it: a file, and a word in it.
const PROVEN_ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "apt install ./target/deb/*.deb",
        LIFE_OF_PACKAGES.0,
        LIFE_OF_PACKAGES.1,
    ),
    (
        "apt purge sasl-sso libsasl2-modules-sso",
        LIFE_OF_PACKAGES.0,
        LIFE_OF_PACKAGES.1,
    ),
];

/// The packages in a Debian of their own.
const LIFE_OF_PACKAGES: (&str, &str) = (
    "tests/package_lifecycle.rs",
    "fn installed_used_upgraded_removed_and_purged_they_leave_nothing_and_harm_nothing()",
);

/// Runs a command and returns what it printed.
pub fn run(site: &Site, place: &str, line: &str) -> String {
    let command = line.strip_prefix("sudo ").unwrap_or(line);
    let words: Vec<&str> = command.split_whitespace().collect();
    let elsewhere = PROVEN_ELSEWHERE
        .iter()
        .find(|(known, ..)| *known == command);
    match (words[0], elsewhere) {
        (_, Some((_, file, name))) => {
            let test = fs::read_to_string(root().join(file));
            let test = test.unwrap_or_else(|error| panic!("{place}: {file}: {error}"));
            assert!(test.contains(name), "{place}: {file} has no {name}");
            String::new()
        }
        ("sasl-sso", None) => site.sasl_sso(place, &words[1..]),
        ("make", None) => make(site, place, &words[1..]),
        ("systemctl", None) => systemctl(site, place, &words[1..]),
        ("journalctl", None) => {
            let name = format!("{}.service", words[words.len() - 1]);
            assert!(unit(site, &name).is_some(), "{place}: no unit {name}");
            String::new()
        }
        ("install", None) => install(site, place, &words[1..]),
        ("apt", None) => apt(site, place, &words[1..]),
        _ => panic!("{place}: nobody proves \"{command}\""),
    }
}

/// `make install` is run into a directory of ours; of other targets it is seen that they are there:
/// the tests are run by one of them, on what others have made.
fn make(site: &Site, place: &str, words: &[&str]) -> String {
    let mut make = site.scratch.command("make");
    make.args(["--no-print-directory", "-C"]).arg(root());
    make.args(words);
    match words {
        ["install" | "uninstall"] => make.arg(format!("DESTDIR={}", site.root().display())),
        [_] => make.arg("--dry-run"),
        _ => panic!("{place}: make with more than a target"),
    };
    site.scratch.run("make", make, "")
}

/// systemd does not run here: the units are looked for where we and Debian's packages put them,
/// and what is asked of them must be what they are made for.
fn systemctl(site: &Site, place: &str, words: &[&str]) -> String {
    let (verb, units) = words.split_first().expect("a verb");
    for name in units.iter().filter(|word| !word.starts_with("--")) {
        let unit = unit(site, name).unwrap_or_else(|| panic!("{place}: no unit {name}"));
        let needs = match *verb {
            "enable" | "disable" => "\n[Install]\n",
            "reload" => "\nExecReload=",
            "start" | "restart" | "try-restart" | "status" | "daemon-reload" => "",
            _ => panic!("{place}: systemctl {verb}"),
        };
        let text = fs::read_to_string(&unit).expect("a unit");
        assert!(
            text.contains(needs),
            "{place}: {} has no {needs}",
            unit.display()
        );
    }
    String::new()
}

fn unit(site: &Site, name: &str) -> Option<PathBuf> {
    let ours = site.root().join("lib/systemd/system").join(name);
    if !ours.exists() {
        make(site, name, &["install"]);
    }
    let debians = Path::new("/lib/systemd/system").join(name);
    [ours, debians].into_iter().find(|path| path.exists())
}

/// The last word is a path, which becomes one of ours. Who is not root gives nothing away.
fn install(site: &Site, place: &str, words: &[&str]) -> String {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let path = words.pop().expect("a path");
    assert!(path.starts_with('/'), "{place}: {path}");
    if !nix::unistd::geteuid().is_root() {
        while let Some(owner) = words.iter().position(|word| word == "-o" || word == "-g") {
            words.drain(owner..owner + 2);
        }
    }
    let mut install = site.scratch.command("install");
    install.args(words);
    install.arg(site.root().join(path.trim_start_matches('/')));
    fs::create_dir_all(site.root().join("run")).expect("a directory");
    site.scratch.run("install", install, "")
}

/// Packages of Debian that this machine has, for the tests are built and run by them.
fn apt(site: &Site, place: &str, words: &[&str]) -> String {
    let ("install", packages) = (words[0], &words[1..]) else {
        panic!("{place}: apt {}", words[0]);
    };
    let mut query = site.scratch.command("dpkg-query");
    query.arg("--status").args(packages);
    site.scratch.run("dpkg-query", query, "")
}
