//! Binds libsasl2's plugin interface from `sasl-headers/`, compiles the C shim
//! for its variadic functions.

#[cfg(feature = "plugin")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::path::PathBuf;

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
fn main() {}
