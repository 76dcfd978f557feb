//! What tests compile: each program once in a process of tests, however many sites it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where each source was last compiled to.
static LAST: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Has `path` be what `compile` makes of `source`, and calls it if it was not called for that
/// source, or what it made is gone.
///
/// A link, and no copy: a file that was just written can be open for writing in a child that
/// another thread has forked meanwhile, and is then not to be started (`ETXTBSY`).
pub fn once(source: &Path, path: &Path, compile: impl FnOnce()) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let source = source.display().to_string();
    let is_there = |made: &PathBuf| std::fs::hard_link(made, path).is_ok();
    if !last.get(&source).is_some_and(is_there) {
        compile();
    }
    last.insert(source, path.to_owned());
}
