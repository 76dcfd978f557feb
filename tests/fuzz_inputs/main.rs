//! Runs all committed fuzzer inputs through the whole plugin in the real libsasl2, in this process.

// clippy recognizes only #[test] functions as tests.
#![allow(clippy::expect_used)]

#[path = "../../fuzz/tables/mod.rs"]
mod tables;

use std::fs;
use std::path::Path;

#[test]
fn committed_fuzzer_inputs_pass() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = tables::Site::start(directory.path());
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for folder in ["corpus/tables", "regressions/tables"] {
        for entry in fs::read_dir(fuzz.join(folder)).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            site.run(&fs::read(&path).expect("an input"));
            count += 1;
        }
    }
    assert!(count > 0, "fuzz/corpus/tables is empty");
}
