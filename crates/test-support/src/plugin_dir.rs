//! A private plugin directory, so that the host's plugins have no influence.

use super::scratch::set_mode;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Links the stock plugins into `dir`, and copies the plugin under test, if any.
pub fn fill(dir: &Path, stock_plugins: &[&str], plugin: Option<&Path>) {
    let stock = stock_plugin_dir();
    for name in stock_plugins {
        symlink(stock.join(name), dir.join(name)).expect("cannot link to a stock plugin");
    }
    if let Some(plugin) = plugin {
        // A copy, because the Cyrus user may not be able to read the build directory.
        let installed = dir.join("libsso.so");
        fs::copy(plugin, &installed)
            .unwrap_or_else(|error| panic!("{}: {error}", plugin.display()));
        set_mode(&installed, 0o755);
    }
}

/// Returns `/usr/lib/TRIPLET/sasl2` for the architecture of the host.
pub fn stock_plugin_dir() -> PathBuf {
    fs::read_dir("/usr/lib")
        .expect("cannot read /usr/lib")
        .filter_map(|entry| Some(entry.ok()?.path().join("sasl2")))
        .find(|dir| dir.join("libplain.so").exists())
        .expect("no stock plugins of libsasl2: install libsasl2-modules")
}
