#![no_main]

#[path = "../other_reader.rs"]
mod other_reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sso_core::fuzz_support::run("cas_reply", data);
    other_reader::agree(sso_core::fuzz_support::user_and_proxies(data), data);
});
