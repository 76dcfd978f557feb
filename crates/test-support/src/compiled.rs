//! Caches compiled programs: a test process compiles each source once, however many directories use
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The most recent path of the program compiled from each source.
static COMPILED: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Puts the program compiled from `source` at `path`. Calls `compile` unless an earlier result for
/// that source still exists.
///
/// The result is hard-linked rather than copied: a child that another thread forks could inherit a
/// writable descriptor of the copy, and executing it would fail with `ETXTBSY`.
pub fn once(source: &Path, path: &Path, compile: impl FnOnce()) {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let source = source.display().to_string();
    let reuse = |made: &PathBuf| std::fs::hard_link(made, path).is_ok();
    if !compiled.get(&source).is_some_and(reuse) {
        compile();
    }
    compiled.insert(source, path.to_owned());
}
