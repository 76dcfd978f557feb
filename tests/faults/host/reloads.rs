//! Loads and unloads the plugin, and initializes and shuts down libsasl2, a thousand times.

use super::fault_env::{FaultEnv, KNOWN, idle_usage, message, outcome_counts, print_row};
use test_support::libsasl2::token_site::oauthbearer;
use test_support::libsasl2::{code, hex};

const RELOADS: usize = 1_000;

/// Maximum growth in kB. A leak of the smallest allocation per reload would exceed it.
const MAX_GROWTH_KB: usize = 512;

#[test]
fn thousand_reloads_do_not_leak() {
    let env = FaultEnv::new("reloads");
    // libsasl2 itself leaks some bytes at each shutdown; a driver without the plugin measures how
    // many.
    let mut bare = env.site.kit.driver(&env.site.scratch, &[]);
    let mut driver = env.driver(&[]);
    assert_eq!(driver.ticket(KNOWN).code(), code::OK);
    let known = message(KNOWN);
    let token = hex(&oauthbearer(&env.token(0)));
    driver.ask("quiet 1");
    let mut reload = |times: usize| {
        let all = outcome_counts(&mut driver, &format!("reloads {times} CASPT {known}"));
        assert_eq!(all, [times, 0, 0, 0]);
        let some = times / 10;
        let all = outcome_counts(&mut driver, &format!("reloads {some} OAUTHBEARER {token}"));
        assert_eq!(all, [some, 0, 0, 0]);
        assert_eq!(driver.ask(&format!("loads {times}")).last, ["loads", "0"]);
        idle_usage(&driver)
    };
    let mut reload_bare = |times: usize| {
        for _ in 0..times {
            bare.ask("reload");
        }
        idle_usage(&bare).anonymous
    };
    let (before, bare_before) = (reload(RELOADS / 4), reload_bare(RELOADS / 4));
    let (after, bare_after) = (reload(RELOADS), reload_bare(RELOADS));
    println!("{before:?} {after:?} without the plugin {bare_before} {bare_after}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    let own = bare_after.saturating_sub(bare_before) * 11 / 10;
    assert!(
        after.anonymous <= before.anonymous + own + MAX_GROWTH_KB,
        "{before:?} {after:?} {own}"
    );
    print_row(
        "sasl_done and sasl_server_init with a login each, and dlopen and dlclose",
        RELOADS * 21 / 10,
        "all accepted",
        &format!(
            "nothing: {} kB before, {} kB after, of which libsasl2's own {own} kB",
            before.anonymous, after.anonymous
        ),
    );
}
