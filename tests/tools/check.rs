//! Runs `sasl-sso check` on faulty configurations and on correct ones.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

mod risks;
mod rows;

use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use test_support::authority::Authority;
use test_support::examples;
use test_support::mint::SigningKey;
use test_support::scratch::{Scratch, set_mode};

/// The imapd.conf of Debian's package for an unconfigured host; cyrus.conf is in the same
/// directory.
fn stock() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let path = target.expect("target").join("debian/etc/imapd.conf");
    assert!(path.exists(), "run scripts/unpack-packages");
    path.display().to_string()
}

/// Runs `sasl-sso check --json` with these arguments and returns its exit status and document.
fn check(arguments: &[&str]) -> (i32, Value) {
    let plugin = test_support::libsasl2::plugin();
    let output = Command::new(plugin.with_file_name("sasl-sso"))
        .args(["check", "--json", "--plugin-dir"])
        .arg(plugin.parent().expect("a directory"))
        .args(arguments)
        .output()
        .expect("sasl-sso: run `make build`");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let document = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code().expect("an exit status"), document)
}

/// A diagnostic: severity, file, line (0 if none), option (- if none), and text.
type Found = (String, PathBuf, u64, String, String);

fn findings(document: &Value) -> Vec<Found> {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or("-").to_owned();
    let all = document["findings"].as_array().expect("findings").iter();
    all.map(|one| {
        let said = format!("{}; {}", text(one, "problem"), text(one, "remedy"));
        let line = one["line"].as_u64().unwrap_or(0);
        let file = PathBuf::from(text(one, "file"));
        (text(one, "severity"), file, line, text(one, "option"), said)
    })
    .collect()
}

/// The diagnostics that a file declares in its own comments; see tests/broken_confs/README.
fn expected(file: &Path) -> Vec<Found> {
    let bytes = fs::read(file).expect("a file of tests/broken_confs");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let mut all = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let (words, at) = if let Some(words) = line.strip_prefix("#= ") {
            let below = lines[index..]
                .iter()
                .position(|line| !line.starts_with("#="));
            // A diagnostic about a commented-out line is reported at the line of the comment.
            (words, (index + below.expect("a line below") + 1) as u64)
        } else if let Some(words) = line.strip_prefix("#! ") {
            (words, 0)
        } else {
            continue;
        };
        let mut words = words.trim_end_matches('\\').trim_end().splitn(3, ' ');
        let mut word = || words.next().expect("three words").to_owned();
        all.push((word(), file.to_owned(), at, word(), word()));
    }
    all
}

/// Copies the files to a scratch directory and replaces HERE with its path.
fn broken_confs(scratch: &Scratch) -> PathBuf {
    let home = scratch.create_dir("confs");
    scratch.create_dir("confs/keys");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken_confs");
    for directory in [source.clone(), source.join("keys")] {
        for entry in fs::read_dir(directory).expect("tests/broken_confs") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let bytes = fs::read(&path).expect("a file");
                let name = path.strip_prefix(&source).expect("a file below");
                let text = String::from_utf8(bytes).expect("text");
                let text = text.replace("HERE", home.to_str().expect("a path in UTF-8"));
                scratch.write(home.join(name), text);
            }
        }
    }
    home
}

#[test]
fn each_broken_file_yields_exactly_its_declared_faults() {
    let scratch = Scratch::new("broken");
    let home = broken_confs(&scratch);
    let mut files: Vec<PathBuf> = fs::read_dir(&home)
        .expect("the files")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let name_of = |path: &Path| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let is_main = |path: &&PathBuf| name_of(path).starts_with(|c: char| c.is_ascii_digit());
    let mains = files.iter().filter(is_main);
    let mut count = 0;
    for file in mains.filter(|path| path.extension().is_some_and(|of| of == "conf")) {
        count += 1;
        let name = name_of(file);
        let shown = file.display().to_string();
        let cyrus_conf = home.join(format!("cyrus-{name}")).display().to_string();
        let mut arguments = vec!["--config", &shown];
        if Path::new(&cyrus_conf).exists() {
            arguments.extend(["--cyrus-conf", &cyrus_conf]);
        }
        let (status, document) = check(&arguments);
        let found = findings(&document);
        let number = &name[..2];
        let parts = files.iter().filter(|path| {
            *path == file
                || name_of(path).starts_with(number)
                    && path.extension().is_some_and(|of| of == "inc")
        });
        let expected: Vec<Found> = parts.flat_map(|path| expected(path)).collect();
        assert!(!expected.is_empty(), "{name} declares no diagnostics");
        let fits = |one: &Found, said: &Found| {
            (&one.0, &one.1, one.2, &one.3) == (&said.0, &said.1, said.2, &said.3)
                && said.4.contains(&one.4)
        };
        for one in &expected {
            let named = found.iter().any(|said| fits(one, said));
            assert!(named, "{name}: {one:?} is not among {found:#?}");
        }
        for said in found.iter().filter(|said| said.0 == "fault") {
            let known = expected.iter().any(|one| fits(one, said));
            assert!(known, "{name}: unexpected {said:?}");
        }
        // A broken file makes the check fail.
        assert_eq!(status, 1, "{name}");
        assert_eq!(document["status"], "faults");
    }
    assert!(count >= 25, "{count} files");
}

#[test]
fn text_output_and_json_output_report_the_same_diagnostics() {
    let scratch = Scratch::new("has_warning");
    let home = broken_confs(&scratch);
    let file = home.join("06-mistyped.conf").display().to_string();
    let (_, document) = check(&["--config", &file]);
    let program = test_support::libsasl2::plugin().with_file_name("sasl-sso");
    let output = Command::new(program)
        .args(["check", "--config", &file, "--plugin-dir"])
        .arg(
            test_support::libsasl2::plugin()
                .parent()
                .expect("a directory"),
        )
        .output()
        .expect("sasl-sso");
    let said = String::from_utf8_lossy(&output.stdout);
    for (severity, _, line, option, what) in findings(&document) {
        let place = match line {
            0 => file.clone(),
            line => format!("{file}:{line}"),
        };
        let line = format!("{place}: {severity}: {option}: {what}");
        assert!(said.contains(&line), "{line} is not in {said}");
    }
    // The output is not a terminal, so it has no colours.
    assert!(!said.contains('\u{1b}'), "{said}");
}

/// Whether a diagnostic is due to the test machine: the test files are temporary, and a machine
/// that is not a mail server has neither the mail server's user nor its directories.
fn is_of_the_machine(found: &Found) -> bool {
    let (severity, _, _, option, said) = found;
    severity == "note"
        || said.contains("for temporary files")
        || said.contains("in memory")
        || option.ends_with("sso_state_dir")
}

#[test]
fn good_examples_pass_alone_and_merged_into_debians_file() {
    let scratch = Scratch::new("good");
    let key = SigningKey::p256().pem();
    let ca = Authority::new().write_ca(&scratch).display().to_string();
    let portal = scratch.write("portal.pem", &key).display().to_string();
    scratch.create_dir("jwt-keys");
    scratch.write("jwt-keys/application.pem", &key);
    let keys = scratch.join("jwt-keys").display().to_string();
    // The daemon socket that the examples for passwords refer to.
    let mux = scratch.join("mux");
    let _listener = UnixListener::bind(&mux).expect("a socket");
    set_mode(&mux, 0o777);
    let mux = mux.display().to_string();
    let stock = fs::read_to_string(stock()).expect("Debian's imapd.conf");
    for path in examples::all() {
        let example = fs::read_to_string(&path).expect("an example");
        let example = example
            .replace("/etc/ssl/certs/univ-ca.pem", &ca)
            .replace("/etc/cyrus/portal.pem", &portal)
            .replace("/etc/cyrus/jwt-keys", &keys)
            .replace("/run/sasl-sso/mux", &mux);
        let alone = scratch.write("alone.conf", &example).display().to_string();
        let (status, document) = check(&["--config", &alone]);
        let mut found = findings(&document);
        found.retain(|one| !is_of_the_machine(one));
        assert_eq!((status, &found[..]), (0, &[][..]), "{}", path.display());
        if path.ends_with("smtpd.conf") {
            continue;
        }
        // The intended use: the example replaces options of the same name in Debian's file.
        let is_replaced = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            example
                .lines()
                .any(|line| line.starts_with(&format!("{name}:")))
        };
        let whole: Vec<&str> = stock.lines().filter(|line| !is_replaced(line)).collect();
        let whole = format!("{}\n{example}", whole.join("\n"));
        let whole = scratch.write("imapd.conf", whole).display().to_string();
        let (status, document) = check(&["--config", &whole]);
        let mut found = findings(&document);
        found.retain(|one| !is_of_the_machine(one));
        // Debian's file sets allowplaintext: yes, which is worth a warning but no other diagnostic.
        let options: Vec<&str> = found.iter().map(|one| &*one.3).collect();
        assert_eq!(status, 0, "{}: {found:?}", path.display());
        assert_eq!(options, ["allowplaintext"], "{}: {found:?}", path.display());
        assert_eq!(found[0].0, "warning");
    }
}

#[test]
fn debians_unchanged_file_has_no_diagnostics() {
    let (status, document) = check(&["--config", &stock(), "--strict"]);
    assert_eq!(status, 0, "{document}");
    assert_eq!(document["status"], "good");
    assert_eq!(document["findings"], Value::Array(Vec::new()), "{document}");
    // The services are those of Debian's cyrus.conf in the same directory.
    let services: Vec<&Value> = document["offered"]
        .as_array()
        .expect("offers")
        .iter()
        .collect();
    assert!(services.len() > 1, "{document}");
    assert!(
        services
            .iter()
            .all(|one| one["mechanisms"] == Value::Array(Vec::new()))
    );
}

#[test]
fn installed_plugin_of_another_build_is_a_warning() {
    let scratch = Scratch::new("stamp");
    let conf = "sasl_caspt_url: https://cas.univ.example/cas\n\
                sasl_caspt_proxies: https://webmail.univ.example/*\n";
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let directory = scratch.create_dir("plugins").display().to_string();
    let has_warning = |what: &str| {
        let (status, document) = check_in(&directory, &conf);
        assert_eq!(status, 0);
        findings(&document)
            .iter()
            .any(|one| one.0 == "warning" && one.4.contains(what))
    };
    assert!(has_warning("there is no libsso.so"));
    let mut plugin = fs::read(test_support::libsasl2::plugin()).expect("the plugin");
    scratch.write("plugins/libsso.so", &plugin);
    assert!(!has_warning("libsso.so"));
    let begin = b"sasl-sso-build:";
    let windows = plugin.windows(begin.len());
    let places: Vec<usize> = windows
        .enumerate()
        .filter(|(_, window)| window == begin)
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places.len(), 1, "the build stamp occurs once in the plugin");
    let end = plugin[places[0]..].iter().position(|byte| *byte == b';');
    let last = places[0] + end.expect("the end of the stamp") - 1;
    plugin[last] = if plugin[last] == b'0' { b'1' } else { b'0' };
    scratch.write("plugins/libsso.so", &plugin);
    assert!(has_warning("is of another build"));
    scratch.write("plugins/libsso.so", b"\x7fELF of something else");
    assert!(has_warning("is not a plugin of this version"));
}

/// Runs `sasl-sso check --json` on this file with another plugin directory.
fn check_in(directory: &str, conf: &str) -> (i32, Value) {
    let program = test_support::libsasl2::plugin().with_file_name("sasl-sso");
    let output = Command::new(program)
        .args([
            "check",
            "--json",
            "--plugin-dir",
            directory,
            "--config",
            conf,
        ])
        .output()
        .expect("sasl-sso");
    let document = serde_json::from_slice(&output.stdout).expect("a document");
    (output.status.code().expect("an exit status"), document)
}

#[test]
fn wrong_permissions_of_directories_and_keys_are_reported() {
    let scratch = Scratch::new("rights");
    let user = test_support::scratch::cyrus_user();
    let keys = scratch.write("portal.pem", SigningKey::p256().pem());
    let state = scratch.create_dir("state");
    let conf = format!(
        "cyrus_user: {user}\nsasl_jwt_issuer: https://a.univ.example\nsasl_jwt_audience: x\n\
         sasl_jwt_keys: {}\nsasl_sso_state_dir: {}\n",
        keys.display(),
        state.display()
    );
    let conf = scratch.write("imapd.conf", conf).display().to_string();
    let messages_about = |option: &str| {
        let (_, document) = check(&["--config", &conf]);
        let about_option = findings(&document)
            .into_iter()
            .filter(|one| one.3 == option);
        about_option
            .map(|one| format!("{}: {}", one.0, one.4))
            .filter(|line| !line.contains("for temporary files"))
            .collect::<String>()
    };
    scratch.give_to_cyrus(&state);
    set_mode(&state, 0o700);
    assert_eq!(messages_about("sasl_sso_state_dir"), "");
    set_mode(&state, 0o770);
    let said = messages_about("sasl_sso_state_dir");
    assert!(
        said.starts_with("warning: ") && said.contains("may be written by others"),
        "{said}"
    );
    let is_missing = |path: &Path| fs::symlink_metadata(path).is_err();
    fs::remove_dir(&state).expect("removing the directory");
    let said = messages_about("sasl_sso_state_dir");
    // The scratch directory is ours, so whether Cyrus can create a directory in it depends on our
    // user.
    assert_eq!(
        said.contains("cannot be made"),
        nix::unistd::geteuid().is_root(),
        "{said}"
    );
    assert!(is_missing(&state), "the check made a directory");

    assert_eq!(messages_about("sasl_jwt_keys"), "");
    // Everybody may read a public key, but only its owner may write to it.
    for mode in [0o666, 0o664] {
        set_mode(&keys, mode);
        let said = messages_about("sasl_jwt_keys");
        assert!(
            said.starts_with("fault: ") && said.contains("may be written by others"),
            "{said}"
        );
    }
    let public = fs::read(&keys).expect("the keys");
    fs::write(&keys, SigningKey::hmac(&[3; 64]).pem()).expect("a secret");
    set_mode(&keys, 0o644);
    let said = messages_about("sasl_jwt_keys");
    assert!(
        said.starts_with("fault: ") && said.contains("everybody may read the secret"),
        "{said}"
    );
    set_mode(&keys, 0o640);
    assert!(!messages_about("sasl_jwt_keys").contains("everybody"));
    fs::write(&keys, public).expect("the keys");
    set_mode(&keys, 0o600);
    let said = messages_about("sasl_jwt_keys");
    if nix::unistd::geteuid().is_root() {
        assert!(
            said.starts_with("fault: ") && said.contains("may not read"),
            "{said}"
        );
        scratch.give_to_cyrus(&keys);
    }
    assert_eq!(messages_about("sasl_jwt_keys"), "");
}
