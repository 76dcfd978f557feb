//! Of its own process: libsasl2 is started once.

#![no_main]

#[path = "../tables/mod.rs"]
mod tables;

use std::cell::OnceCell;
use tables::Site;

thread_local! {
    static SITE: OnceCell<Site> = const { OnceCell::new() };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    SITE.with(|site| {
        let site = site.get_or_init(|| {
            let name = format!("sso-fuzz-tables-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir(&directory).expect("a directory");
            Site::start(&directory)
        });
        site.run(data);
    });
});
