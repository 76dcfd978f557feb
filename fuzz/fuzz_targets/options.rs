#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sso_cli::fuzz_support::options(data));
