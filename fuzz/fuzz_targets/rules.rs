#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sso_core::fuzz_support::run("rules", data));
