//! Generates Rust declarations of libsasl2's plugin interface from `sasl-headers/`, compiles
//! the C shim for its variadic functions, and sets how the plugin is linked.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `fuzz/plugin` uses this script, too, and is not the root of the project.
    let package = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut directories = package.ancestors();
    let root = directories.find(|directory| directory.join("sasl-headers").is_dir());
    let root = root.ok_or("there is no directory sasl-headers")?;
    let headers = root.join("sasl-headers");
    let shim = root.join("src/shim.c");
    let declarations = root.join("src/shim.h");
    for input in [&headers, &shim, &declarations] {
        println!("cargo:rerun-if-changed={}", input.display());
    }

    cc::Build::new()
        .file(shim)
        .include(&headers)
        .warnings_into_errors(true)
        .compile("sso_shim");

    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("sasl.rs");
    bindgen::Builder::default()
        .header(declarations.to_str().ok_or("the path is not UTF-8")?)
        .clang_arg(format!(
            "-I{}",
            headers.to_str().ok_or("the path is not UTF-8")?
        ))
        .allowlist_type("sasl_(utils|out_params|server_params|server_plug)(_t)?")
        .allowlist_type("sasl_server_plug_init_t")
        .allowlist_function("sso_.*")
        .allowlist_var("SASL_.*")
        .derive_copy(true)
        .layout_tests(true)
        .generate()?
        .write_to_file(out)?;
    if std::env::var("CARGO_PKG_NAME")? == "libsso" {
        set_linker_options()?;
    }
    Ok(())
}

/// Sets the linker's options for the plugin.
fn set_linker_options() -> Result<(), Box<dyn std::error::Error>> {
    // A thread or thread-local state may outlive a dlclose of the plugin.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // The plugin contains the code that unwinds a panic. Many hosts do not load libgcc_s.so,
    // and loading it would take as long as loading the plugin.
    let compiler = cc::Build::new().get_compiler();
    let output = Command::new(compiler.path())
        .arg("-print-file-name=libgcc_eh.a")
        .output()?;
    let archive = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let directory = archive.parent().unwrap_or(Path::new("."));
    println!("cargo:rustc-link-search=native={}", directory.display());
    println!("cargo:rustc-link-lib=static=gcc_eh");
    Ok(())
}
