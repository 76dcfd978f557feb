//! What the fuzzers of `fuzz/` call: for each kind of hostile input one function, which
//! panics if a promise about it does not hold.
//!
//! The promises are more than that nothing crashes: what was accepted is what was said,
//! what is written is read as it was, who looks on changes no verdict. The inputs that
//! are committed are held to them in every `cargo test` as well.
//!
//! The functions stand where what they try is private: in `cas`, `jwt`, `session`, `cli`,
//! and here for the rest.

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

/// A target: its name, which is that of its corpus, and what is done with an input.
type Target = (&'static str, fn(&[u8]));

/// All of them but `tables`, which needs libsasl2 (`fuzz/tables`).
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

/// Does what the target of this name does with `data`.
///
/// # Panics
/// If a promise does not hold, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    let (_, body) = target.expect("a target of that name");
    body(data);
}

/// Who is authenticated by a reply of CAS, and through which portals: to be compared with
/// what another reader of XML says.
pub fn said_by_cas(reply: &[u8]) -> Option<(String, Vec<String>)> {
    crate::fuzz_support::cas::said(reply)
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
    fn every_committed_input_keeps_the_promises() {
        let failing: Vec<String> = TARGETS
            .iter()
            .flat_map(|(name, body)| failing_inputs(name, body))
            .collect();
        assert_eq!(failing, Vec::<String>::new());
    }

    #[test]
    fn a_reply_is_read_as_another_reader_reads_it() {
        let agree = |data: &[u8]| other_reader::agree(said_by_cas(data), data);
        assert_eq!(failing_inputs("cas_reply", agree), Vec::<String>::new());
    }
}
