//! The installed units of the daemon: systemd accepts all their lines, the sandbox has its exposure
//! level, and clients do not wait for a daemon that cannot start.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use test_support::scratch::Scratch;

/// Maximum exposure level according to `systemd-analyze security` of Debian 12, in tenths: 0 for a
/// process that can do nothing, 100 for an unconfined process of root. Most of the rest is the
/// network, which the daemon needs for CAS.
const MAX_EXPOSURE: &str = "11";

/// Runs `make install` with these variables.
fn install(scratch: &Scratch, variables: &[(&str, &Path)]) {
    let mut make = scratch.command("make");
    make.arg("-C").arg(env!("CARGO_MANIFEST_DIR"));
    make.arg("install");
    for (name, value) in variables {
        make.arg(format!("{name}={}", value.display()));
    }
    scratch.run("make", make, "");
}

/// Installs the units and their program below the scratch directory. Returns the directory of the
/// units.
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

/// Runs systemd-analyze. Returns whether it succeeded, and its output.
fn analyze(scratch: &Scratch, units: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = scratch.command("systemd-analyze");
    command.arg("--no-pager").args(arguments);
    // The colon at the end adds the unit directories of the host.
    command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    scratch.attempt("systemd-analyze", command, "")
}

#[test]
fn units_start_the_installed_program() {
    let scratch = Scratch::new("units");
    let root = scratch.join("root");
    let variables = [
        ("DESTDIR", &*root),
        ("PREFIX", Path::new("/usr")),
        ("PLUGINDIR", Path::new("/plugins")),
    ];
    install(&scratch, &variables);
    let units = root.join("lib/systemd/system");
    let service = fs::read_to_string(units.join("sasl-sso.service")).expect("cannot read the unit");
    let command = service.lines().find(|line| line.starts_with("ExecStart="));
    assert_eq!(command, Some("ExecStart=/usr/sbin/sasl-sso serve"));
    assert!(!service.contains("@SBINDIR@"), "{service}");
    assert!(units.join("sasl-sso.socket").exists());
}

#[test]
fn systemd_accepts_every_line_of_the_units() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    for name in ["sasl-sso.socket", "sasl-sso.service"] {
        let unit = units.join(name).display().to_string();
        let result = analyze(&scratch, &units, &["--man=no", "verify", &unit]);
        assert_eq!(result, (true, String::new()), "{name}");
    }
}

#[test]
fn sandbox_exposure_stays_below_its_threshold() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    let threshold = format!("--threshold={MAX_EXPOSURE}");
    let arguments = ["security", "--offline=true", &threshold, "sasl-sso.service"];
    let (is_below, output) = analyze(&scratch, &units, &arguments);
    assert!(is_below, "{output}");
}

/// Returns the value of a setting, in seconds if it is a time.
fn setting(unit: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(unit).expect("cannot read the unit");
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().expect(name);
    let end = value.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = value.split_at(end.unwrap_or(value.len()));
    let number: u64 = number.parse().expect("not a number");
    match unit {
        "" | "s" => number,
        "min" => 60 * number,
        _ => panic!("{name}={value}"),
    }
}

#[test]
fn start_limit_is_reached_if_the_daemon_does_not_start() {
    let scratch = Scratch::new("units");
    let units = installed(&scratch);
    let [socket, service] =
        ["socket", "service"].map(|kind| units.join(format!("sasl-sso.{kind}")));
    // Even if each start takes as long as possible, the number of starts reaches the limit within
    // the interval.
    let longest_start = setting(&service, "TimeoutStartSec") + setting(&service, "RestartSec");
    let starts = setting(&socket, "TriggerLimitBurst");
    let interval = setting(&socket, "TriggerLimitIntervalSec");
    assert!(
        starts * longest_start < interval,
        "{starts} starts of {longest_start} s take longer than {interval} s"
    );
}
