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
// Of a fuzzer that is what makes a finding.
#![allow(clippy::expect_used)]

pub(crate) mod input;
mod messages;
#[cfg(test)]
#[path = "../../fuzz/other_reader.rs"]
mod other_reader;
mod rules;
pub(crate) mod site;

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
    ("cas_reply", crate::cas::fuzzing::reply),
    ("token", crate::jwt::fuzzing::token),
    ("claims", crate::jwt::fuzzing::claims),
    ("jwks", crate::jwt::fuzzing::jwks),
    ("metadata", crate::jwt::fuzzing::metadata),
    ("pem", crate::jwt::fuzzing::pem),
    ("key_files", crate::jwt::fuzzing::key_files),
    ("record", crate::session::fuzzing::record),
    ("notes", crate::session::fuzzing::notes),
    ("options", crate::cli::fuzzing::options),
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
    crate::cas::fuzzing::said(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    /// The inputs of a target that are committed.
    fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let folders = ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target));
        let entries = folders
            .into_iter()
            .filter_map(|folder| fs::read_dir(folder).ok());
        let paths = entries.flatten().map(|entry| entry.unwrap().path());
        paths
            .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
            .collect()
    }

    /// Those for which `body` panics.
    fn broken(target: &str, body: impl Fn(&[u8])) -> Vec<String> {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "fuzz/corpus/{target} is empty");
        let holds = |data: &[u8]| catch_unwind(AssertUnwindSafe(|| body(data))).is_ok();
        let broken = inputs.into_iter().filter(|(_, data)| !holds(data));
        broken.map(|(path, _)| path).collect()
    }

    #[test]
    fn every_committed_input_keeps_the_promises() {
        let broken: Vec<String> = TARGETS
            .iter()
            .flat_map(|(name, body)| broken(name, body))
            .collect();
        assert_eq!(broken, Vec::<String>::new());
    }

    #[test]
    fn a_reply_is_read_as_another_reader_reads_it() {
        let agree = |data: &[u8]| other_reader::agree(said_by_cas(data), data);
        assert_eq!(broken("cas_reply", agree), Vec::<String>::new());
    }
}
