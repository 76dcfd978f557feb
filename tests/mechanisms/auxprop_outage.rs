//! The host's own directory of users, which libsasl2 looks each name up in: that it does not
//! answer is an outage, and no fault of the ticket.

// clippy sees no tests outside of #[test] functions.
#![allow(clippy::expect_used)]

use std::path::Path;
use test_support::libsasl2::code;
use test_support::libsasl2::site::{PROXY, Site};

#[test]
fn auxprop_outage_is_not_a_refusal_and_reveals_no_user() {
    let site = Site::new("directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cc = site.scratch.command("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-I"])
        .arg(root.join("sasl-headers"))
        .arg("-o")
        .arg(site.kit.directory().join("libdirectory.so"))
        .arg(root.join("crates/test-support/src/libsasl2/directory.c"));
    site.scratch.run("cc", cc, "");
    site.cas.arm("PT-1-alice", "alice", &[PROXY]);
    site.cas.arm("PT-2-alice", "alice", &[PROXY]);
    let stopped = site.scratch.join("stopped");
    let wrapper = format!("SSO_TEST_DIRECTORY={}", stopped.display());
    let options = [("auxprop_plugin", "directory")];
    let mut driver = site.driver_under(&["env", &wrapper], &options);

    // Whom it does not know may have been known to CAS alone.
    assert_eq!(driver.ticket("PT-1-alice").code(), code::OK);
    // Nor does it tell anybody who is in it, beside whom the ticket is of.
    let [somebody, nobody] =
        ["bob", "ghost"].map(|name| driver.caspt(format!("\0{name}\0PT-1-alice").as_bytes()));
    assert_eq!(somebody.reason(), "user_mismatch");
    assert_eq!(nobody.reason(), "user_not_accepted");
    assert_eq!(somebody.steps, nobody.steps);
    std::fs::write(&stopped, "").expect("a file");
    for ticket in ["PT-1-alice", "PT-2-alice"] {
        let answer = driver.ticket(ticket);
        assert_eq!(answer.code(), code::UNAVAIL, "{answer:?}");
        assert_eq!(answer.reason(), "user_lookup_failed");
        assert_eq!(answer.steps, [(code::UNAVAIL, String::new())]);
    }
    std::fs::remove_file(&stopped).expect("the file");
    for ticket in ["PT-1-alice", "PT-2-alice"] {
        assert_eq!(driver.ticket(ticket).code(), code::OK, "{ticket}");
    }
    // Nor was CAS asked again.
    assert_eq!(site.cas.requests().len(), 2);
}
