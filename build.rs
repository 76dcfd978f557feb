//! Binds libsasl2's plugin interface from `sasl-headers/`, compiles the C shim
//! for its variadic functions; and stamps what is built with a digest of its sources.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(feature = "plugin")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    stamp()?;
    println!("cargo:rerun-if-changed=sasl-headers");
    println!("cargo:rerun-if-changed=src/plugin/shim.c");
    println!("cargo:rerun-if-changed=src/plugin/shim.h");

    cc::Build::new()
        .file("src/plugin/shim.c")
        .include("sasl-headers")
        .warnings_into_errors(true)
        .compile("sso_shim");

    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("sasl.rs");
    bindgen::Builder::default()
        .header("src/plugin/shim.h")
        .clang_arg("-Isasl-headers")
        .allowlist_type("sasl_(utils|out_params|server_params|server_plug)(_t)?")
        .allowlist_type("sasl_server_plug_init_t")
        .allowlist_function("sso_.*")
        .allowlist_var("SASL_.*")
        .derive_copy(true)
        .layout_tests(true)
        .generate()?
        .write_to_file(out)?;
    Ok(())
}

#[cfg(not(feature = "plugin"))]
fn main() -> io::Result<()> {
    stamp()
}

/// SSO_SOURCES: the same for the plugin and the program that are built of the same
/// sources and the same dependencies, and for no others.
fn stamp() -> io::Result<()> {
    let mut files = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml")];
    collect(Path::new("src"), &mut files)?;
    files.sort();
    // FNV-1a of 64 bits: nobody is to be kept from forging it.
    let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        let name = file.to_string_lossy().into_owned().into_bytes();
        for byte in name.into_iter().chain(std::fs::read(&file)?) {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-env=SSO_SOURCES={digest:016x}");
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
