//! The units of the daemon, as `make install` leaves them: systemd understands all that they say,
//! the sandbox stays as tight as it was made, and nobody waits for ever for a daemon that does not
//! start.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use test_support::scratch::Scratch;

/// What `systemd-analyze security` of Debian 12 says, in tenths: 0 is a process that can do nothing,
/// 100 one of root's that can do all. Most of what is left is the network, which CAS needs.
const EXPOSURE: &str = "11";

/// `make install` with these variables.
fn install(scratch: &Scratch, variables: &[(&str, &Path)]) {
    let mut make = scratch.command("make");
    make.arg("-C").arg(env!("CARGO_MANIFEST_DIR"));
    make.arg("install");
    for (name, value) in variables {
        make.arg(format!("{name}={}", value.display()));
    }
    scratch.run("make", make, "");
}

/// Units whose program is where they say, below the scratch directory.
fn installed(scratch: &Scratch) -> PathBuf {
    let [prefix, plugins, units] = ["usr", "plugins", "units"].map(|name| scratch.join(name));
    let variables = [
        ("PREFIX", &*prefix),
        ("PLUGINDIR", &*plugins),
        ("UNITDIR", &*units),
    ];
    install(scratch, &variables);
    units
}

/// What systemd-analyze says about it: whether that is good, and the words.
fn analyze(scratch: &Scratch, units: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = scratch.command("systemd-analyze");
    command.arg("--no-pager").args(arguments);
    // At its end, a colon: and all of the host's.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    scratch.attempt("systemd-analyze", command, "")
}

#[test]
fn the_units_start_what_was_installed() {
    let scratch = Scratch::new("units");
    let root = scratch.join("root");
    let variables = [
        ("DESTDIR", &*root),
        ("PREFIX", Path::new("/usr")),
        ("PLUGINDIR", Path::new("/plugins")),
    ];
    install(&scratch, &variables);
    let units = root.join("lib/systemd/system");
    let service = fs::read_to_string(units.join("sasl-sso.service")).expect("the service");
    let starts = service.lines().find(|line| line.starts_with("ExecStart="));
    assert_eq!(starts, Some("ExecStart=/usr/sbin/sasl-sso serve"));
    assert!(!service.contains("@SBINDIR@"), "{service}");
    assert!(units.join("sasl-sso.socket").exists());
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    for name in ["sasl-sso.socket", "sasl-sso.service"] {
        let unit = units.join(name).display().to_string();
        let said = analyze(&scratch, &units, &["--man=no", "verify", &unit]);
        assert_eq!(said, (true, String::new()), "{name}");
    }
}

#[test]
fn the_sandbox_stays_as_tight_as_it_was_made() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    let threshold = format!("--threshold={EXPOSURE}");
    let arguments = ["security", "--offline=true", &threshold, "sasl-sso.service"];
    let (within, said) = analyze(&scratch, &units, &arguments);
    assert!(within, "{said}");
}

/// What a unit says, in seconds if it is a time.
fn setting(unit: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(unit).expect("a unit");
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().expect(name);
    let end = value.find(|character: char| !character.is_ascii_digit());
    let (number, what) = value.split_at(end.unwrap_or(value.len()));
    let number: u64 = number.parse().expect("a number");
    match what {
        "" | "s" => number,
        "min" => 60 * number,
        _ => panic!("{name}={value}"),
    }
}

#[test]
fn nobody_waits_for_ever_for_a_daemon_that_does_not_start() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    let [socket, service] =
        ["socket", "service"].map(|kind| units.join(format!("sasl-sso.{kind}")));
    // However long a start takes, there are so many of them in that time that the limit is reached.
    let longest = setting(&service, "TimeoutStartSec") + setting(&service, "RestartSec");
    let starts = setting(&socket, "TriggerLimitBurst");
    let time = setting(&socket, "TriggerLimitIntervalSec");
    assert!(
        starts * longest < time,
        "{starts} of {longest} s in {time} s"
    );
}
