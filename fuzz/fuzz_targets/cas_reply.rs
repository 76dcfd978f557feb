#![no_main]

#[path = "../other_reader.rs"]
mod other_reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sso::fuzzing::run("cas_reply", data);
    other_reader::agree(sso::fuzzing::said_by_cas(data), data);
});
