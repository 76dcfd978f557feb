//! A plugin directory of the test's own, so that the host's other plugins have no say.

use super::scratch::set_mode;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Puts stock plugins into `dir`, and ours if there is one.
pub fn fill(dir: &Path, stock_plugins: &[&str], plugin: Option<&Path>) {
    let stock = stock_plugin_dir();
    for name in stock_plugins {
        symlink(stock.join(name), dir.join(name)).expect("a link to a stock plugin");
    }
    if let Some(plugin) = plugin {
        // A copy: the user of Cyrus may not be allowed to go where it was built.
        let installed = dir.join("libsso.so");
        fs::copy(plugin, &installed)
            .unwrap_or_else(|error| panic!("{}: {error}", plugin.display()));
        set_mode(&installed, 0o755);
    }
}

/// `/usr/lib/TRIPLET/sasl2`, whatever the machine.
pub fn stock_plugin_dir() -> PathBuf {
    fs::read_dir("/usr/lib")
        .expect("/usr/lib")
        .filter_map(|entry| Some(entry.ok()?.path().join("sasl2")))
        .find(|dir| dir.join("libplain.so").exists())
        .expect("the stock plugins of libsasl2 (package libsasl2-modules)")
}
