//! Tests that each login is counted once, in any process and however the process ends.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use test_support::libsasl2::site::{PROXY, Site};
use test_support::libsasl2::{Driver, code, sasl_sso};
use test_support::scratch::{Scratch, set_mode};

/// The output of `sessions stats`.
fn stats(conf: &Path, form: &[&str]) -> (Option<i32>, String, String) {
    let conf = conf.display().to_string();
    sasl_sso(&[&["sessions", "stats", "--config", &conf], form].concat())
}

fn json(conf: &Path) -> Value {
    let (status, said, complaint) = stats(conf, &["--json"]);
    assert_eq!(status, Some(0), "{complaint}");
    serde_json::from_str(&said).expect("an object")
}

/// The number of logins with tickets that have this result.
fn logins(stats: &Value, source: &str, reason: Option<&str>) -> u64 {
    let all = stats["logins"].as_array().expect("logins").iter();
    let is_it = |row: &&Value| {
        row["credential"] == "ticket" && row["source"] == source && row["reason"].as_str() == reason
    };
    all.filter(is_it)
        .filter_map(|row| row["count"].as_u64())
        .sum()
}

#[test]
fn counts_of_all_processes_add_up_including_killed_ones() {
    const PROCESSES: usize = 6;
    const LOGINS: u64 = 3_000;
    let site = Site::new("counted");
    let conf = site.imapd_conf();
    site.cas.arm("PT-1-counted", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-1-counted").code(), code::OK);
    let mut drivers: Vec<Driver> = (0..PROCESSES).map(|_| site.driver(&[])).collect();
    let message = test_support::libsasl2::hex(b"\0\0PT-1-counted");
    for driver in &mut drivers {
        driver.tell("quiet 1");
        driver.tell(&format!("time CASPT {LOGINS} {message}"));
    }
    for (number, driver) in drivers.iter_mut().enumerate() {
        driver.answer();
        assert_eq!(driver.answer().code(), code::OK);
        if number % 2 == 0 {
            let pid = i32::try_from(driver.pid()).expect("a process id");
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killing it");
        }
    }
    for unknown in 0..7 {
        let answer = drivers[1].ticket(&format!("PT-{unknown}-unknown"));
        assert_eq!(answer.code(), code::BADAUTH, "{answer:?}");
    }
    drivers[1].caspt(b"nonsense");
    let stats = json(&conf);
    assert_eq!(logins(&stats, "host", None), LOGINS * PROCESSES as u64);
    assert_eq!(logins(&stats, "validated", None), 1);
    assert_eq!(logins(&stats, "validated", Some("ticket_refused")), 7);
    assert_eq!(stats["validations"]["ticket"]["count"], 8);
    assert_eq!(stats["validations"]["token"]["count"], 0);
    assert_eq!(stats["store"]["records"]["tickets"]["count"], 1);
    assert_eq!(stats["store"]["records"]["refusals"]["count"], 7);
    let all = stats["logins"].as_array().expect("logins").iter();
    let all: u64 = all.filter_map(|row| row["count"].as_u64()).sum();
    assert_eq!(all, LOGINS * PROCESSES as u64 + 1 + 7 + 1);
    let (_, table, _) = stats_text(&conf);
    assert!(table.contains("ticket_refused"), "{table}");
}

fn stats_text(conf: &Path) -> (Option<i32>, String, String) {
    stats(conf, &[])
}

/// Parses a sample of Prometheus' text format: its name, labels and value.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value = value.parse().expect("a number");
    let Some((name, rest)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new(), value);
    };
    let labels = rest.strip_suffix('}').expect("the end of the labels");
    let label = |label: &str| {
        let (name, value) = label.split_once("=\"").expect("a label");
        let value = value.strip_suffix('"').expect("the end of a value");
        assert!(!value.contains(['"', '\\']), "{line}");
        (name.to_owned(), value.to_owned())
    };
    (
        name.to_owned(),
        labels.split(',').map(label).collect(),
        value,
    )
}

#[test]
fn counts_are_valid_in_prometheus_format() {
    let site = Site::new("prometheus");
    site.cas.arm("PT-1-counted", "alice", &[PROXY]);
    let mut driver = site.driver(&[]);
    for _ in 0..3 {
        assert_eq!(driver.ticket("PT-1-counted").code(), code::OK);
    }
    let (status, text, complaint) = stats(&site.imapd_conf(), &["--prometheus"]);
    assert_eq!(status, Some(0), "{complaint}");
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    let mut described = None;
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => {
                assert!(help.len() > 10 && !types.contains_key(name), "{line}");
                described = Some(name);
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(described, Some(name));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                types.insert(name.to_owned(), kind.to_owned());
            }
            _ => {
                let (name, labels, value) = sample(line);
                let family = described.expect("a head before the samples");
                let suffix = name.strip_prefix(family).expect("a sample of its family");
                match &*types[family] {
                    "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix)),
                    "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{name}"),
                    _ => assert!(suffix.is_empty() && !name.ends_with("_total"), "{name}"),
                }
                assert!(value >= 0.0);
                let twice = samples.insert((name, labels), value);
                assert_eq!(twice, None, "{line}");
            }
        }
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let key = (name.to_owned(), labels.iter().map(owned).collect());
        samples.get(&key).copied().unwrap_or(-1.0)
    };
    let ticket = ("credential", "ticket");
    let outcome = ("outcome", "accepted");
    assert_eq!(value("sasl_sso_logins_total", &[ticket, outcome]), 3.0);
    let source = |source| value("sasl_sso_decisions_total", &[ticket, ("source", source)]);
    assert_eq!((source("host"), source("validated")), (2.0, 1.0));
    let refused = [("outcome", "refused"), ("reason", "ticket_refused")];
    assert_eq!(value("sasl_sso_failures_total", &refused), 0.0);
    assert_eq!(value("sasl_sso_validation_seconds_count", &[ticket]), 1.0);
    assert!(value("sasl_sso_validation_seconds_sum", &[ticket]) > 0.0);
    assert_eq!(
        value("sasl_sso_store_records", &[("table", "tickets")]),
        1.0
    );
    // The buckets are cumulative, and the last one contains all.
    let buckets = samples.iter().filter(|((name, labels), _)| {
        name == "sasl_sso_validation_seconds_bucket" && labels["credential"] == "ticket"
    });
    let mut buckets: Vec<(f64, f64)> = buckets
        .map(|((_, labels), count)| (labels["le"].parse().expect("a bound"), *count))
        .collect();
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, 1.0)));
}

#[test]
fn missing_counters_are_reported_and_nothing_is_created() {
    let scratch = Scratch::new("nothing");
    let state = scratch.join("state");
    let conf = format!(
        "sasl_caspt_url: https://cas.univ.example/\nsasl_sso_state_dir: {}\n",
        state.display()
    );
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let ask = |order: &[&str]| {
        let orders = [&["sessions"], order, &["--config", &conf]].concat();
        let (status, said, complaint) = sasl_sso(&orders);
        assert_eq!((status, said.as_str()), (Some(2), ""), "{complaint}");
        complaint
    };
    for order in [&["list"][..], &["flush", "--all"], &["stats"]] {
        assert!(ask(order).contains("there is nothing"));
        assert!(!state.exists());
    }
    scratch.create_dir("state");
    set_mode(&state, 0o700);
    assert!(ask(&["list"]).contains("there is nothing"));
    assert_eq!(std::fs::read_dir(&state).expect("the directory").count(), 0);
    // A link or pipe of another user is not followed and does not block.
    let aside = scratch.join("aside");
    std::fs::rename(&state, &aside).expect("out of the way");
    std::os::unix::fs::symlink(&aside, &state).expect("a link");
    assert!(ask(&["list"]).contains("is not a directory"));
    // Each of the three is counted once.
    for wrong in [
        &["flush"][..],
        &["flush", "--all", "--user", "x"],
        &["flush", "--digest", "x"],
    ] {
        ask(wrong);
    }
}

#[test]
fn foreign_object_in_place_of_the_counters_is_rejected() {
    let site = Site::new("left");
    let conf = site.imapd_conf();
    site.cas.arm("PT-1-left", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-1-left").code(), code::OK);
    let state = site.scratch.join("state");
    let file = |beginning: &str| {
        let entries = std::fs::read_dir(&state).expect("the state directory");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let is_it = |path: &std::path::PathBuf| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            name.starts_with(beginning) && !name.ends_with("-lock")
        };
        paths.find(is_it).expect("the file")
    };
    let counters = file("counters-");
    std::fs::remove_file(&counters).expect("removing them");
    nix::unistd::mkfifo(&counters, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let (status, said, complaint) = stats(&conf, &["--json"]);
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("there are no counters"), "{complaint}");
    assert!(said.contains("\"tickets\""), "{said}");
    let store = file("sessions-");
    std::fs::rename(&store, site.scratch.join("elsewhere")).expect("out of the way");
    std::os::unix::fs::symlink(site.scratch.join("elsewhere"), &store).expect("a link");
    let conf = conf.display().to_string();
    let (status, _, complaint) = sasl_sso(&["sessions", "list", "--config", &conf]);
    assert_eq!(status, Some(2));
    assert!(complaint.contains("is not a private file"), "{complaint}");
    // Logins continue, and the log says why they are not shared.
    site.cas.arm("PT-2-left", "alice", &[PROXY]);
    assert_eq!(site.driver(&[]).ticket("PT-2-left").code(), code::OK);
}
