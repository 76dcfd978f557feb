//! Mutates a good configuration at random a thousand times. For each mutation, `sasl-sso check`
//! must agree with the host application: Cyrus' own reader of imapd.conf, and the plugin in
//! libsasl2.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]
// The seed is printed so that a failure can be reproduced.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use test_support::authority::Authority;
use test_support::dice::Dice;
use test_support::libsasl2::{Driver, Kit};
use test_support::mint::{SigningKey, now};
use test_support::port::Port;
use test_support::scratch::{Scratch, cyrus_user};

/// Reads imapd.conf with the code that imapd uses, and prints the options.
const CYR_INFO: &str = "/usr/lib/cyrus/bin/cyr_info";

const MUTATIONS: usize = 1_000;

/// The lines to mutate, with one option per line.
fn valid_lines(files: &Path, port: u16, several: bool) -> Vec<String> {
    let files = files.display();
    let mut lines = format!(
        "allowplaintext: no\nservername: localhost\nvirtdomains: userid\npopminpoll: 1\n\
         sasl_minimum_layer: 0\nsasl_mech_list: PLAIN CASPT OAUTHBEARER XOAUTH2\n\
         sasl_caspt_url: https://localhost:{port}/cas\n\
         sasl_caspt_proxies: https://webmail.univ.example/* https://portal.univ.example/callback\n\
         sasl_caspt_service: {{service}}://mail.univ.example\nsasl_caspt_timeout: 1\n\
         sasl_caspt_rate_limit: 3000\nsasl_caspt_require: role=mail unit=it|\"a b\"\n\
         sasl_caspt_allow_direct: no\nsasl_caspt_ca_file: {files}/ca.pem\n\
         sasl_sso_strip_domain: univ.example\nsasl_sso_sessions: 1000\n\
         sasl_sso_state_dir: {files}/state\n"
    );
    let one = format!(
        "sasl_jwt_issuer: https://sso.univ.example\nsasl_jwt_keys: {files}/keys.pem\n\
         sasl_jwt_audience: imap.univ.example other\nsasl_jwt_algorithms: ES256 RS256\n\
         sasl_jwt_types: JWT at+jwt\nsasl_jwt_require: scope=imap\nsasl_jwt_leeway: 10\n"
    );
    let portal = one
        .replace("jwt_", "jwt_portal_")
        .replace("sso.univ", "portal.univ");
    if several {
        lines += "sasl_jwt_issuers: univ portal\n";
        lines += &one.replace("jwt_", "jwt_univ_");
        lines += &portal;
    } else {
        lines += &one;
    }
    lines.lines().map(str::to_owned).collect()
}

/// A mutated file, and the options that the mutation removed on purpose.
struct Mutation {
    lines: Vec<Vec<u8>>,
    removed: Vec<String>,
}

const INSERTED_BYTES: &[&[u8]] = &[
    b"a",
    b"s",
    b"_",
    b"-",
    b":",
    b" ",
    b"#",
    b"\"",
    b"\\",
    b"@",
    b"*",
    b"/",
    b"0",
    b"9",
    b"\0",
    b"\r",
    b"\xc3\xa9",
    b"\x0b",
    b"\"",
    b"{",
    b"=",
    b"|",
    b"X",
];

const INSERTED_VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"-1",
    b"yes",
    b"maybe",
    b"*",
    b"http://a.example/",
    b"https://a.example/ x",
    b"/missing",
    b"99999999999",
    b"none",
    b"discovery",
    b"a=",
    b"@x",
    b"NO",
    b"HS256",
];

fn mutate(good: &[String], dice: &mut Dice) -> Mutation {
    let mut lines: Vec<Vec<u8>> = good.iter().map(|line| line.clone().into_bytes()).collect();
    let name = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    // The option name of each line before the mutation.
    let mut names: Vec<String> = good.iter().map(name).collect();
    let mut removed = Vec::new();
    for _ in 0..1 + dice.roll(2) {
        let at = dice.roll(lines.len());
        let length = lines[at].len();
        let colon = lines[at].iter().position(|byte| *byte == b':');
        // Every second mutation changes the option name.
        let within = match colon {
            Some(colon) if dice.roll(2) == 0 => colon + 1,
            _ => length,
        };
        let place = dice.roll(within.max(1)).min(length.saturating_sub(1));
        match dice.roll(9) {
            0 if length > 0 => drop(lines[at].remove(place)),
            1 => {
                let new = dice.pick(INSERTED_BYTES);
                lines[at].splice(place..place, new.iter().copied());
            }
            2 if length > 0 => {
                let new = dice.pick(INSERTED_BYTES);
                lines[at].splice(place..=place, new.iter().copied());
            }
            3 if place + 1 < length => lines[at].swap(place, place + 1),
            4 => {
                let copy = lines[at].clone();
                let to = dice.roll(lines.len());
                lines.insert(to, copy);
                names.insert(to, names[at].clone());
                // A line now occurs twice, and mutating one copy would leave the other in effect.
                break;
            }
            5 => {
                lines.remove(at);
                removed.push(names.remove(at));
            }
            6 => lines[at].extend(b"\\"),
            7 => {
                if let Some(colon) = colon {
                    lines[at].truncate(colon + 1);
                    lines[at].push(b' ');
                    lines[at].extend(*dice.pick(INSERTED_VALUES));
                }
            }
            _ => {
                let change = |byte: &mut u8| *byte = byte.to_ascii_uppercase();
                lines[at].iter_mut().take(place).for_each(change);
            }
        }
    }
    // A line that became a comment counts as removed on purpose.
    for (name, line) in names.iter().zip(&lines) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_start_matches([' ', '\t', '\u{b}', '\r']);
        if text.starts_with('#') {
            removed.push(name.clone());
        }
    }
    Mutation { lines, removed }
}

/// What Cyrus reads from a file; `None` if it rejects the file.
fn read_by_cyrus(scratch: &Scratch, conf: &Path) -> Option<BTreeMap<String, String>> {
    let output = Command::new(CYR_INFO)
        .env_clear()
        .arg("-C")
        .arg(conf)
        .arg("conf")
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("cyr_info (package cyrus-common)");
    if !output.status.success() {
        return None;
    }
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = stdout.split('\n').filter_map(|line| line.split_once(": "));
    let pairs = lines.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(pairs.collect())
}

/// Why the host application rejects this file, or every login with it.
fn rejection_reason(
    site: &Site,
    conf: &Path,
    good: &BTreeMap<String, String>,
    mutation: &Mutation,
) -> Option<String> {
    let Some(read) = read_by_cyrus(&site.scratch, conf) else {
        return Some("Cyrus rejects the file".to_owned());
    };
    let ours = |name: &str| {
        let option = name.strip_prefix("sasl_")?;
        let is_one = ["caspt_", "jwt_", "sso_"]
            .iter()
            .any(|with| option.starts_with(with));
        is_one.then(|| option.to_owned())
    };
    for name in good.keys().filter(|name| ours(name).is_some()) {
        if !read.contains_key(name) && !mutation.removed.contains(name) {
            return Some(format!("{name} is no longer read"));
        }
    }
    let options: Vec<(String, String)> = read
        .iter()
        .filter_map(|(name, value)| Some((ours(name)?, value.clone())))
        .collect();
    let given: Vec<(&str, &str)> = options
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let mut driver = site.kit.driver(&site.scratch, &given);
    let unasked = driver.ask("unasked").last[1..].join(" ");
    let is_set = |name: &str| read.contains_key(&format!("sasl_{name}"));
    let has_tokens = is_set("jwt_keys") || is_set("jwt_issuers");
    let offers = |driver: &mut Driver, name: &str| {
        let offered = driver.ask("list").last;
        offered.iter().any(|word| word == name)
    };
    let is_offered = offers(&mut driver, "CASPT") || offers(&mut driver, "OAUTHBEARER");
    if (is_set("caspt_url") || has_tokens) && !is_offered {
        return Some("the plugin rejects the file".to_owned());
    }
    if !unasked.is_empty() {
        return Some(format!("no code reads {unasked}"));
    }
    if let Some(list) = read.get("sasl_mech_list") {
        let listed = [&given[..], &[("mech_list", list)]].concat();
        let mut driver = site.kit.driver(&site.scratch, &listed);
        if is_set("caspt_url") && !offers(&mut driver, "CASPT") {
            return Some(format!("{list} keeps CASPT from being offered"));
        }
        let by_any = offers(&mut driver, "OAUTHBEARER") || offers(&mut driver, "XOAUTH2");
        if has_tokens && !by_any {
            return Some(format!("{list} keeps tokens from being accepted"));
        }
    }
    // Without a pattern, no proxy is allowed.
    let direct = read
        .get("sasl_caspt_allow_direct")
        .map(|value| value.to_ascii_lowercase());
    let is_on = |value: &String| ["yes", "y", "on", "true", "t", "1"].contains(&value.as_str());
    let allows_direct = direct.as_ref().is_some_and(is_on);
    if is_set("caspt_url") && !is_set("caspt_proxies") && !allows_direct {
        return Some("no ticket can be accepted".to_owned());
    }
    // The remaining checks need a login. The state directory is fixed here, because the mutated
    // file may name any path.
    let state = site.files.join("state").display().to_string();
    let mut options = given;
    options.retain(|(name, _)| *name != "sso_state_dir");
    options.push(("sso_state_dir", &state));
    let mut driver = site.kit.driver(&site.scratch, &options);
    let changed = |name: &str| read.get(name) != good.get(name) && read.contains_key(name);
    if changed("sasl_caspt_ca_file") && is_set("caspt_url") {
        let mut options = options.clone();
        options.retain(|(name, _)| *name != "caspt_url");
        options.push(("caspt_url", &site.url));
        let mut driver = site.kit.driver(&site.scratch, &options);
        if driver.ticket("PT-1-never-issued").reason() == "trust_unusable" {
            return Some("the CAs cannot be read".to_owned());
        }
    }
    for (keys, value) in read.iter().filter(|(name, _)| name.ends_with("_keys")) {
        let algorithms = keys.replace("_keys", "_algorithms");
        if (changed(keys) || changed(&algorithms)) && value.starts_with('/') {
            let issuer = &read[&keys.replace("_keys", "_issuer")];
            let types = read.get(&keys.replace("_keys", "_types"));
            if types.is_some_and(|types| !types.to_ascii_lowercase().contains("at+jwt")) {
                continue;
            }
            let claims = serde_json::json!({"iss": issuer, "iat": now(), "exp": now() + 60});
            let header = r#"{"alg":"ES256","typ":"at+jwt"}"#;
            let token = site.key.token(header, &claims.to_string());
            // The only configured key is for this algorithm.
            let reason = driver.token(&token).reason();
            if ["keys_unusable", "algorithm_not_allowed"].contains(&&*reason) {
                return Some(format!("no token can be accepted: {reason}"));
            }
        }
    }
    None
}

struct Site {
    kit: Kit,
    key: SigningKey,
    url: String,
    files: PathBuf,
    scratch: Scratch,
    port: Port,
}

impl Site {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let files = scratch.create_dir("f");
        let key = SigningKey::p256();
        scratch.write("f/ca.pem", Authority::new().ca_pem());
        scratch.write("f/keys.pem", key.pem());
        // No server listens on this port.
        let port = Port::reserve();
        Self {
            kit: Kit::new(&scratch),
            key,
            url: format!("https://localhost:{}/cas", port.number()),
            files,
            scratch,
            port,
        }
    }

    /// Mutates `count` files and compares the verdicts of the check and the host on each. Returns
    /// the number of files without and with a fault.
    fn compare_verdicts(&self, several: bool, count: usize, seed: u64) -> [usize; 2] {
        let head = format!(
            "configdirectory: /var/lib/cyrus\ndefaultpartition: default\n\
             partition-default: /var/spool/cyrus\ncyrus_user: {}\n",
            cyrus_user()
        );
        let lines = valid_lines(&self.files, self.port.number(), several);
        let write = |lines: &[Vec<u8>]| {
            let text = [head.as_bytes(), &lines.join(&b"\n"[..]), b"\n"].concat();
            self.scratch.write("imapd.conf", text)
        };
        let good: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        let conf = write(&good);
        let read = read_by_cyrus(&self.scratch, &conf).expect("a good file");
        assert_eq!(self.check(&conf), (0, String::new()), "the good file");
        let mut dice = Dice::new(seed);
        let mut verdicts = [0, 0];
        let mut disagreements = Vec::new();
        for number in 0..count {
            let mutation = mutate(&lines, &mut dice);
            let conf = write(&mutation.lines);
            let (status, stdout) = self.check(&conf);
            let reason = rejection_reason(self, &conf, &read, &mutation);
            if (status == 1) != reason.is_some() {
                let is_mutated = |line: &&Vec<u8>| !good.contains(*line);
                let lines = mutation.lines.iter().filter(is_mutated);
                let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line)).collect();
                let out = &mutation.removed;
                disagreements.push(format!(
                    "number {number}: the host: {reason:?}; the check: {stdout:?}; {lines:#?}; {out:?}"
                ));
            }
            verdicts[usize::from(reason.is_some())] += 1;
        }
        assert!(
            disagreements.is_empty(),
            "seed {seed}: {}",
            disagreements.join("\n")
        );
        verdicts
    }

    /// The exit status of the check, and the faults that it reports.
    fn check(&self, conf: &Path) -> (i32, String) {
        let plugin = test_support::libsasl2::plugin();
        let output = Command::new(plugin.with_file_name("sasl-sso"))
            .args(["check", "--plugin-dir"])
            .arg(self.kit.directory())
            .arg("--config")
            .arg(conf)
            .current_dir(self.scratch.path())
            .output()
            .expect("sasl-sso: run `make build`");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let faults = stdout.lines().filter(|line| line.contains(": fault: "));
        let faults = faults.map(|line| format!("{line}\n")).collect();
        (output.status.code().expect("an exit status"), faults)
    }
}

#[test]
fn check_and_host_agree_on_a_thousand_mutated_files() {
    let seed = Dice::seed(20_260_511);
    println!("seed {seed}");
    let sites = [
        ("mutation-one", false, seed),
        ("mutation-several", true, seed ^ 0xffff_ffff),
    ];
    let threads = sites.map(|(name, several, seed)| {
        std::thread::spawn(move || Site::new(name).compare_verdicts(several, MUTATIONS / 2, seed))
    });
    let mut all = [0, 0];
    for thread in threads {
        let verdicts = thread.join().expect("a thread without a panic");
        all = [all[0] + verdicts[0], all[1] + verdicts[1]];
    }
    println!("good: {}, with faults: {}", all[0], all[1]);
    assert_eq!(all[0] + all[1], MUTATIONS);
    // Neither verdict may be rare, or the comparison would prove little.
    assert!(all.iter().all(|count| *count > MUTATIONS / 10), "{all:?}");
}

#[test]
fn libsasl2_splits_mech_list_only_at_white_space() {
    let site = Site::new("commas");
    let options = [
        ("caspt_url", &*site.url),
        ("caspt_proxies", "https://webmail.univ.example/*"),
        ("sso_plain", "yes"),
    ];
    for (list, offered) in [
        ("PLAIN CASPT", &["CASPT", "PLAIN"][..]),
        ("plain\tcaspt", &["CASPT", "PLAIN"]),
        ("PLAIN,CASPT", &[]),
        ("PLAIN, CASPT", &["CASPT"]),
        ("PLAIN ,CASPT", &["PLAIN"]),
        ("\"PLAIN CASPT\"", &[]),
    ] {
        let options = [&options[..], &[("mech_list", list)]].concat();
        let mut driver = site.kit.driver(&site.scratch, &options);
        let answer = driver.ask("list").last;
        let mut found: Vec<&str> = answer.iter().map(String::as_str).collect();
        found.retain(|word| ["CASPT", "PLAIN"].contains(word));
        found.sort_unstable();
        assert_eq!(found, offered, "{list:?}: {answer:?}");
    }
}

#[test]
fn cyrus_keeps_quotes_as_part_of_the_value() {
    let scratch = Scratch::new("quotes");
    let lines = "configdirectory: /var/lib/cyrus\nsasl_sso_realm: \"univ.example\"\n";
    let conf = scratch.write("imapd.conf", lines);
    let read = read_by_cyrus(&scratch, &conf).expect("a good file");
    assert_eq!(read["sasl_sso_realm"], "\"univ.example\"");
}
