//! The fuzz targets of `fuzz/`: one function for each kind of hostile input, which panics if a
//! property does not hold.
//!
//! The properties are more than the absence of crashes: an accepted login agrees with the input,
//! serialized data are parsed to the same, an observer changes no verdict. The committed inputs run
//! in every `cargo test`, too.

#![forbid(unsafe_code)]
// A panic is how a fuzz target reports a finding.
#![allow(clippy::expect_used)]

mod cas;
pub mod input;
mod jwk;
mod jwt;
mod messages;
pub mod policy;
mod rules;
mod session_cache;

#[cfg(test)]
#[path = "../../../../fuzz/other_reader.rs"]
mod other_reader;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A target: its name, which is the name of its corpus, and its function.
type Target = (&'static str, fn(&[u8]));

/// All targets but `tables`, which needs libsasl2 (`fuzz/tables`), and `options` of the program.
pub const TARGETS: &[Target] = &[
    ("caspt_and_plain", messages::caspt_and_plain),
    ("oauthbearer", messages::oauthbearer),
    ("xoauth2", messages::xoauth2),
    ("password", messages::password),
    ("saslauthd", messages::saslauthd),
    ("rules", rules::rules),
    ("cas_reply", crate::fuzz_support::cas::reply),
    ("token", crate::fuzz_support::jwt::token),
    ("claims", crate::fuzz_support::jwt::claims),
    ("jwks", crate::fuzz_support::jwt::jwks),
    ("metadata", crate::fuzz_support::jwt::metadata),
    ("pem", crate::fuzz_support::jwt::pem),
    ("key_files", crate::fuzz_support::jwt::key_files),
    ("record", crate::fuzz_support::session_cache::record),
    ("notes", crate::fuzz_support::session_cache::notes),
];

/// Runs the target `name` with `data`.
///
/// # Panics
/// If a property does not hold, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, body) = target.expect("a target of that name");
    body(data);
}

/// The user and the proxies of a CAS reply, to be compared with the result of another XML parser.
pub fn user_and_proxies(reply: &[u8]) -> Option<(String, Vec<String>)> {
    crate::fuzz_support::cas::user_and_proxies(reply)
}

/// Returns the paths of those committed inputs of `target` with which `body` panics.
///
/// # Panics
/// If the target has no committed inputs, or they cannot be read.
pub fn failing_inputs(target: &str, body: impl Fn(&[u8])) -> Vec<String> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target));
    let entries = folders
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.expect("a directory entry").path())
        .collect();
    assert!(!paths.is_empty(), "fuzz/corpus/{target} is empty");
    let fails = |path: &PathBuf| {
        let data = fs::read(path).expect("a readable input");
        catch_unwind(AssertUnwindSafe(|| body(&data))).is_err()
    };
    let failing = paths.iter().filter(|path| fails(path));
    failing.map(|path| path.display().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn committed_inputs_do_not_panic() {
        let failing: Vec<String> = TARGETS
            .iter()
            .flat_map(|(name, body)| failing_inputs(name, body))
            .collect();
        assert_eq!(failing, Vec::<String>::new());
    }

    #[test]
    fn replies_are_parsed_as_by_another_parser() {
        let agree = |data: &[u8]| other_reader::agree(user_and_proxies(data), data);
        assert_eq!(failing_inputs("cas_reply", agree), Vec::<String>::new());
    }
}
